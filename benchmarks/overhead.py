"""What stands around an engine: many short texts through the step path with an engine that computes nothing.

Beside it the same texts tokenized alone, in the same windows. Both take turns; the figure is the ratio of medians.
Nothing is asserted.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

from farthing.embedding.cache import VectorCache
from farthing.embedding.steps import StepPath
from farthing.embedding.windows import WINDOW_TEXTS
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.load import EmbeddingModel
from farthing.engine.text.tokenization import TextTokenizer
from noop_engine import NoopEngine
from results_file import save

WORDS = 6
BAR = 1.7


def main() -> None:
    """Run, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    checkpoint = read_checkpoint(locate_model(None))
    tokenizer = TextTokenizer(checkpoint)
    engine = NoopEngine(checkpoint.shape)
    path = StepPath(EmbeddingModel(checkpoint, tokenizer, engine))
    choose, words = random.Random(0), tokenizer.words()
    texts = [" ".join(choose.choices(words, k=WORDS)) for _ in range(given.texts)]

    def alone() -> None:
        for start in range(0, len(texts), WINDOW_TEXTS):
            tokenizer.encode(texts[start : start + WINDOW_TEXTS])

    def through() -> None:
        run = path.job(texts, engine.step_tokens, prompt="", cache=VectorCache(0))
        assert sum(len(part.tokens) for part in run) == len(texts)

    seconds: dict[str, list[float]] = {"tokenized alone": [], "through the step path": []}
    for _ in range(given.rounds):
        for name, work in zip(seconds, (alone, through), strict=True):
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    path.close()
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["through the step path"] / medians["tokenized alone"]
    print(f"{given.texts:,} texts: {medians}, ratio {ratio:.2f} (bar {BAR})")
    print(save("overhead", {"texts": given.texts, "seconds": seconds, "ratio": ratio, "bar": BAR}))


if __name__ == "__main__":
    main()
