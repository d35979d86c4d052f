"""ModelShape: what it derives from its figures, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from farthing.errors import ModelError
from makers import TINY_BERT as BERT


def test_every_layer_has_a_reach() -> None:
    assert BERT.attention_reach == (None, None)
    with pytest.raises(ModelError, match="3 values for 2 layers"):
        replace(BERT, attention_reach=(None, 1, 2))


def test_expert_layers_exist() -> None:
    assert replace(BERT, expert_layers=(1,)).dense_layers == 1
    for layers in ((2,), (-1,)):
        with pytest.raises(ModelError, match="expert_layers"):
            replace(BERT, expert_layers=layers)


def test_parameters_by_hand() -> None:
    assert BERT.linear_parameters == 2 * (4 * 8 * 8 + 2 * 8 * 20)
    assert BERT.bias_parameters == 2 * (4 * 8 + 20 + 8)
    assert BERT.norm_parameters == (2 * 2 + 1) * 2 * 8
    assert BERT.embedding_parameters == (100 + 16 + 2) * 8
    assert BERT.total_parameters == sum(
        (BERT.linear_parameters, BERT.bias_parameters, BERT.norm_parameters, BERT.embedding_parameters)
    )


def test_each_bias_counts_by_itself() -> None:
    none = replace(BERT, attention_bias=False, output_bias=False, mlp_up_bias=False, mlp_down_bias=False)
    assert none.bias_parameters == 0
    assert replace(none, attention_bias=True).bias_parameters == 2 * 3 * 8
    assert replace(none, output_bias=True).bias_parameters == 2 * 8
    assert replace(none, mlp_up_bias=True).bias_parameters == 2 * 20
    assert replace(none, mlp_up_bias=True, gated_mlp=True).bias_parameters == 2 * 2 * 20
    assert replace(none, mlp_down_bias=True).bias_parameters == 2 * 8
    with_experts = replace(none, mlp_up_bias=True, mlp_down_bias=True, experts=3, expert_layers=(1,))
    assert with_experts.bias_parameters == (20 + 8) + 8


def test_norms_by_their_place() -> None:
    plain = replace(BERT, embedding_norm=False)
    assert plain.norms == 4
    assert replace(plain, norm_place="pre").norms == 5
    assert replace(plain, norm_place="sandwich").norms == 9
    assert replace(plain, norm_place="pre", first_attention_norm=False, embedding_norm=True).norms == 5
    assert replace(plain, norm="rms_norm").norm_parameters == 4 * 8
    assert replace(plain, qk_norm=True).norm_parameters == 4 * 16 + 2 * 2 * 4
