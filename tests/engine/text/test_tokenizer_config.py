"""What lies beside tokenizer.json: the same ids as transformers', or the folder is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from farthing.engine.text.tokenizer_file import load_tokenizer
from farthing.errors import ModelError

WORDS = ["hello", "Hello", "he", "llo", "word", "wörd", "word_like", "日", "cafe", "café"]
LETTERS = [chr(letter) for letter in range(33, 127)]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *LETTERS, *(f"##{one}" for one in LETTERS)]
MPNET = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *BERT[5:]]
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
PIECES = [f"▁{word}" for word in WORDS] + ["▁", *LETTERS, "日", "ö", "é"]


def unigram(*special: str) -> Any:
    return [(token, 0.0) for token in special] + [(piece, -len(piece) / 9 - 1) for piece in PIECES]


def numbered(tokens: list[str]) -> Any:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def as_they_are(merges: Any) -> Any:
    return merges


FALLBACK = [f"<0x{byte:02X}>" for byte in range(256)]
MAKERS: dict[str, Callable[[], Any]] = {
    "BertTokenizer": lambda: transformers.BertTokenizer(vocab=numbered(BERT)),
    "DistilBertTokenizer": lambda: transformers.DistilBertTokenizer(
        vocab=numbered(BERT), do_lower_case=False
    ),
    "MPNetTokenizer": lambda: transformers.MPNetTokenizer(vocab=numbered(MPNET)),
    "RobertaTokenizer": lambda: transformers.RobertaTokenizer(
        vocab=numbered(["<s>", "<pad>", "</s>", "<unk>", *BYTES, "he", "ll", "<mask>"]),
        merges=as_they_are([("h", "e"), ("l", "l")]),
    ),
    "XLMRobertaTokenizer": lambda: transformers.XLMRobertaTokenizer(
        vocab=unigram("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    ),
    "CamembertTokenizer": lambda: transformers.CamembertTokenizer(
        vocab=unigram("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>")
    ),
    "AlbertTokenizer": lambda: transformers.AlbertTokenizer(
        vocab=unigram("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    ),
    "T5Tokenizer": lambda: transformers.T5Tokenizer(
        vocab=unigram("<pad>", "</s>", "<unk>", "<extra_id_0>", "<extra_id_1>"), extra_ids=2
    ),
    "LlamaTokenizer": lambda: transformers.LlamaTokenizer(
        vocab=numbered(["<unk>", "<s>", "</s>", *FALLBACK, *PIECES]), merges=[]
    ),
    "GemmaTokenizer": lambda: transformers.GemmaTokenizer(
        vocab=numbered(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *FALLBACK, *PIECES]), merges=[]
    ),
    "Qwen2Tokenizer": lambda: transformers.Qwen2Tokenizer(
        vocab=numbered(["<|endoftext|>", *BYTES, "he"]), merges=as_they_are([("h", "e")])
    ),
}
MODEL_TYPES = {
    "BertTokenizer": "bert",
    "DistilBertTokenizer": "distilbert",
    "MPNetTokenizer": "mpnet",
    "RobertaTokenizer": "roberta",
    "XLMRobertaTokenizer": "xlm-roberta",
    "CamembertTokenizer": "camembert",
    "AlbertTokenizer": "albert",
    "T5Tokenizer": "t5",
    "LlamaTokenizer": "llama",
    "GemmaTokenizer": "gemma3_text",
    "Qwen2Tokenizer": "qwen3",
}
TEXTS = [
    "",
    "Hello hello Café cafe wörd WÖRD 日 日本",
    " word  two\nthree\t",
    "a [MASK] b <mask> c <s>hello</s> [CLS] [PAD] <pad> [UNK]<unk>",
    "hello word_like<|endoftext|><eos> <bos> new_one NEW <extra_id_0> ``x''",
    "Hello,wordhello HELLO",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a folder of each class, as transformers saves it."""
    folders = {}
    for name, make in MAKERS.items():
        folder = tmp_path_factory.mktemp(name)
        make().save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps({"model_type": MODEL_TYPES[name]}))
        folders[name] = folder
    return folders


def theirs(folder: Path) -> list[list[int]]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text)["input_ids"] for text in TEXTS]


def ours(folder: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [tokenizer.encode(text).ids for text in TEXTS]


def change(path: Path, **changes: Any) -> None:
    """Set keys of a file, None for leaving one out."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize("name", MAKERS)
def test_what_transformers_saved_is_read_as_there(name: str, saved: dict[str, Path], tmp_path: Path) -> None:
    assert ours(saved[name]) == theirs(saved[name])
    again = tmp_path / "again"
    transformers.AutoTokenizer.from_pretrained(saved[name]).save_pretrained(again)
    shutil.copy(saved[name] / "config.json", again)
    assert ours(again) == theirs(again) == theirs(saved[name])
    (again / "tokenizer_config.json").unlink()
    if name not in ("DistilBertTokenizer", "LlamaTokenizer"):  # whose model types mean another class
        assert ours(again) == theirs(again) == theirs(saved[name])


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_of_transformers_4(name: str, saved: dict[str, Path], tmp_path: Path) -> None:
    """Tokens in special_tokens_map.json, and a class that ends in Fast."""
    folder = Path(shutil.copytree(saved[name], tmp_path / "old"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    roles = {key: value for key, value in config.items() if key.endswith("_token") and isinstance(value, str)}
    (folder / "special_tokens_map.json").write_text(json.dumps(roles))
    change(
        folder / "tokenizer_config.json",
        tokenizer_class=f"{name}Fast",
        added_tokens_decoder=None,
        backend=None,
    )
    assert ours(folder) == theirs(folder) == theirs(saved[name])


TOKENS = st.sampled_from(
    ["[PAD]", "<mask>", "hello", "word_like", "new_one", "<eos>", "<s>", "</s>", "[MASK]"]
)
MAYBE = st.sampled_from([None, True, False])
FLAGS = st.fixed_dictionaries(
    {"content": TOKENS},
    optional={flag: st.booleans() for flag in ("lstrip", "rstrip", "single_word", "normalized")},
)
NAMED = st.one_of(TOKENS, FLAGS.map(lambda flags: {"__type": "AddedToken", **flags}))
ROLES = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "image_token",
]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("do_lower_case", "strip_accents", "tokenize_chinese_chars", "keep_accents"), MAYBE),
    **dict.fromkeys(("add_prefix_space", "legacy"), MAYBE),
    "split_special_tokens": st.booleans(),
    "tokenizer_class": st.sampled_from(
        [*MAKERS, "PreTrainedTokenizerFast", "BertTokenizerFast", "None", None]
    ),
    "additional_special_tokens": st.lists(NAMED, max_size=2),
    "extra_special_tokens": st.one_of(
        st.lists(NAMED, max_size=2), st.dictionaries(st.just("new_token"), TOKENS)
    ),
    "add_bos_token": st.booleans(),
    "add_eos_token": st.booleans(),
    **dict.fromkeys(ROLES, NAMED),
    "added_tokens_decoder": st.one_of(
        st.none(), st.dictionaries(st.integers(0, 30).map(str), FLAGS, max_size=2)
    ),
}
INSIDE: dict[str, st.SearchStrategy[Any]] = {
    "drop": TOKENS,
    "flag": st.tuples(st.integers(0, 4), st.sampled_from(["lstrip", "rstrip", "normalized"])),
    "lower": st.booleans(),
    "prefix": st.booleans(),
    "post_processor": st.none(),
}


def few(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw at most two of them: with more, nearly all folders are refused."""
    chosen = st.lists(st.sampled_from(list(values)), max_size=2, unique=True)
    return chosen.flatmap(lambda keys: st.fixed_dictionaries({key: values[key] for key in keys}))


def change_inside(path: Path, changes: dict[str, Any]) -> None:
    """Change a tokenizer.json."""
    row = json.loads(path.read_text())
    if "drop" in changes:
        row["added_tokens"] = [one for one in row["added_tokens"] if one["content"] != changes["drop"]]
    if "flag" in changes and row["added_tokens"]:
        number, flag = changes["flag"]
        one = row["added_tokens"][number % len(row["added_tokens"])]
        one[flag] = not one[flag]
    if "post_processor" in changes:
        row["post_processor"] = None
    normalizer = row["normalizer"]
    if "lower" in changes and normalizer and normalizer["type"] == "BertNormalizer":
        normalizer["lowercase"] = changes["lower"]
    elif "lower" in changes:
        parts = [normalizer] if normalizer else []
        row["normalizer"] = {"type": "Sequence", "normalizers": [*parts, {"type": "Lowercase"}]}
    splitter = row["pre_tokenizer"] or {"type": ""}
    for one in splitter.get("pretokenizers", [splitter]):
        if "prefix" in changes and one["type"] == "ByteLevel":
            one["add_prefix_space"] = changes["prefix"]
        if "prefix" in changes and one["type"] == "Metaspace":
            one["prepend_scheme"] = "always" if changes["prefix"] else "never"
    path.write_text(json.dumps(row))


@given(
    st.sampled_from(list(MAKERS)),
    few(VALUES),
    few(INSIDE),
    st.dictionaries(st.sampled_from(ROLES), NAMED, max_size=1),
    st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ids_of_transformers_or_a_refusal(
    saved: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    changes: dict[str, Any],
    inside: dict[str, Any],
    roles: dict[str, Any],
    typed: bool,
) -> None:
    folder = tmp_path_factory.mktemp("drawn") / "model"
    shutil.copytree(saved[name], folder)
    change(folder / "tokenizer_config.json", **changes)
    change_inside(folder / "tokenizer.json", inside)
    if roles:
        change(folder / "special_tokens_map.json", **roles)
    if not typed:
        (folder / "config.json").unlink()
    try:
        found = ours(folder)
    except ModelError as error:
        found, said = None, str(error)
    try:
        expected = theirs(folder)
    except Exception:  # refused there too
        expected = None
    shutil.rmtree(folder)
    if found is None:
        assert str(folder) in said
    elif expected is not None:
        rows = len(json.loads((saved[name] / "tokenizer.json").read_text())["model"]["vocab"])
        pairs = [pair for pair in zip(found, expected, strict=True) if max(pair[1], default=0) < rows]
        assert all(ours == theirs for ours, theirs in pairs)  # beyond the table are tokens that no model has


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"do_lower_case": False}, r"'Hello' becomes \['Hello'\] as Bert has it \(do_lower_case is false"),
        ({"strip_accents": False}, "strip_accents is false"),
        ({"extra_special_tokens": ["new_one"]}, "extra_special_tokens: the special token 'new_one'"),
        ({"mask_token": "<mask>"}, "mask_token: the special token '<mask>'"),
        ({"added_tokens_decoder": {"2": {"content": "[UNK]"}}}, r"added_tokens_decoder lacks '\[CLS\]'"),
        ({"cls_token": "[SEP]"}, r"Bert puts \['\[SEP\]', '\[SEP\]'\] around a text"),
    ],
)
def test_what_contradicts_is_refused_by_name(
    saved: dict[str, Path], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """At bfe82b2 all were read by tokenizer.json alone, and other ids came out."""
    folder = Path(shutil.copytree(saved["BertTokenizer"], tmp_path / "model"))
    change(folder / "tokenizer_config.json", **changes)
    with pytest.raises(ModelError, match=said) as refused:
        ours(folder)
    assert str(folder) in str(refused.value)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)  # as the error says
    assert ours(folder) == theirs(folder)


def test_a_space_before_a_text(saved: dict[str, Path], tmp_path: Path) -> None:
    for name, added in (("RobertaTokenizer", True), ("XLMRobertaTokenizer", False), ("Qwen2Tokenizer", True)):
        folder = Path(shutil.copytree(saved[name], tmp_path / name))
        change(folder / "tokenizer_config.json", add_prefix_space=added)
        with pytest.raises(ModelError, match=f"add_prefix_space is {str(added).lower()}"):
            ours(folder)


def test_a_special_token_of_the_vocabulary_is_taken_over(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["BertTokenizer"], tmp_path / "model"))
    before = ours(folder)
    change(folder / "tokenizer_config.json", extra_special_tokens=["word_like"])
    assert ours(folder) == theirs(folder) != before


def test_the_file_that_said_it_is_named(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["BertTokenizer"], tmp_path / "model"))
    change(folder / "special_tokens_map.json", mask_token="new_one")
    with pytest.raises(
        ModelError, match=r"special_tokens_map\.json, mask_token: the special token 'new_one'"
    ):
        ours(folder)


def test_a_tokenizer_that_panics_while_it_is_compared(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["BertTokenizer"], tmp_path / "model"))
    change(folder / "tokenizer.json", pre_tokenizer={"type": "FixedLength", "length": 0})
    with pytest.raises(
        ModelError, match=r"tokenizer\.json: it or what lies beside it cannot be used: chunk size"
    ):
        ours(folder)


def test_special_tokens_that_are_split(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["BertTokenizer"], tmp_path / "model"))
    before = ours(folder)
    change(folder / "tokenizer_config.json", split_special_tokens=True)
    assert ours(folder) == theirs(folder) != before


@pytest.mark.parametrize(
    "content",
    [
        *(
            "[1]",
            "{",
            "[" * 100_000,
            '{"pad_token": 5}',
            '{"extra_special_tokens": 5}',
            '{"pad_token": "\\ud800"}',
        ),
        *('{"added_tokens_decoder": 5}', '{"added_tokens_decoder": {"1": {"content": 5}}}'),
        " " * 5_000_000 + "{}",
    ],
)
def test_a_damaged_file_is_refused_by_name(saved: dict[str, Path], tmp_path: Path, content: str) -> None:
    folder = Path(shutil.copytree(saved["BertTokenizer"], tmp_path / "model"))
    (folder / "tokenizer_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
        ours(folder)
