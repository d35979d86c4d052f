"""A question is only asked of the model that embedded the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from farthing.bulk.embedder import Embedder
from farthing.bulk.writing import EmbeddingWriter
from farthing.cli.main import main
from tests.conftest import MakeModel
