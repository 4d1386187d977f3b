"""Word discovery on Spark: byte for byte what the local engine writes, however the text is divided."""

from __future__ import annotations

import gc
import io
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from text.word_discovery_reference import random_texts, reference

from gezhi.text import WordDiscovery
from gezhi.text.word_discovery import spark
from gezhi.text.word_discovery.characters import KEEP, alphabet
from gezhi.text.word_discovery.tables import Tables

LOGS = {2: 0.4, 3: 0.8, 4: 1.2}
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets that PySpark leaves to the collector


@pytest.fixture(scope="module")
def session():
    """Two threads of a real Spark."""
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    quiet = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.log.level": "OFF",
             "spark.ui.showConsoleProgress": "false", "spark.driver.bindAddress": "127.0.0.1",
             "spark.driver.host": "127.0.0.1"}  # fmt: skip
    builder = SparkSession.builder.master("local[2]")
    for name, value in quiet.items():
        builder = builder.config(name, value)
    found = builder.getOrCreate()
    yield found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        found.stop()
        gc.collect()


def frame(session, texts, parts):
    return session.createDataFrame([(text,) for text in texts], "text string").repartition(parts)


def written(model, folder):
    """What a model saves; settings that say how it was found are not in it."""
    model.save(folder / "words.json")
    return (folder / "words.json").read_bytes()


def both(session, texts, folder, parts=3, **options):
    local = WordDiscovery(**options).fit(texts)
    other = WordDiscovery(engine="spark", **options).fit(frame(session, texts, parts))
    assert written(other, folder) == written(local, folder)
    return local


# ---- the same, byte for byte ----------------------------------------------------------------------------------------


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text("ab国人的，", max_size=12), max_size=8),
    parts=st.integers(1, 5),
    min_count=st.integers(1, 3),
    backtrack=st.sampled_from(["ngram", "strict"]),
)
def test_spark_is_local_is_the_reference(session, tmp_path, texts, parts, min_count, backtrack):
    model = both(session, texts, tmp_path, parts, min_count=min_count, thresholds=LOGS, backtrack=backtrack)
    words, strong, total, tokens = reference(texts, min_count, LOGS, backtrack=backtrack)
    assert list(model.words_.items()) == words
    assert [tuple(ngram) for ngram in model.strong_ngrams_] == strong
    assert (model.total_, model.n_segments_) == (total, len(tokens))


@pytest.mark.parametrize("parts", [1, 7])
def test_any_division_gives_the_same(session, tmp_path, parts):
    both(session, random_texts(2, texts=60), tmp_path, parts, min_count=2, thresholds={2: 0.3, 3: 0.6}, order=3)


def test_a_text_larger_than_a_window_of_the_worker(session, tmp_path):
    texts = ["国人的" * (spark.BLOCK // 2) + "人一", "国人"]
    both(session, texts, tmp_path, 2, min_count=3, thresholds={2: 0.3, 3: 0.6}, order=3)


def test_lines_of_files(session, tmp_path):
    texts = random_texts(4)
    for name, part in (("a.txt", texts[:9]), ("b.txt", texts[9:])):
        (tmp_path / name).write_text("\r\n".join(part), encoding="utf-8", newline="")
    lines = session.read.text([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")])
    found = WordDiscovery(engine="spark", min_count=2, thresholds=LOGS).fit(lines)
    assert written(found, tmp_path) == written(WordDiscovery(min_count=2, thresholds=LOGS).fit(texts), tmp_path)


def test_texts_that_are_no_frame_become_one(session, tmp_path):
    texts = random_texts(6, texts=5)
    found = WordDiscovery(engine="spark", min_count=2, thresholds=LOGS).fit([io.StringIO(texts[7]), *texts])
    local = WordDiscovery(min_count=2, thresholds=LOGS).fit([texts[7], *texts])
    assert written(found, tmp_path) == written(local, tmp_path)


def test_null_texts_are_passed_over(session):
    found = WordDiscovery(2, engine="spark", min_count=1, thresholds={2: 0}).fit(
        frame(session, [None, "国国", None], 2)
    )
    assert found.n_characters_ == 2


def test_progress_is_told(session):
    told = []
    model = WordDiscovery(3, engine="spark", min_count=1)
    model.fit(frame(session, ["国人国"], 1), on_progress=lambda *event: told.append(event))
    assert told == [("reading", 0, None), ("counting 2", 0, 3), ("counting 3", 0, 3), ("cutting", 0, 3)]


def test_wrong_frames_are_named(session):
    two = session.createDataFrame([("a", "b")], "x string, y string")
    with pytest.raises(ValueError, match=r"texts must have one column: got \['x', 'y'\]. Pass frame.select"):
        WordDiscovery(engine="spark").fit(two)
    with pytest.raises(TypeError, match="texts must be an iterable of texts: got str"):
        WordDiscovery(engine="spark").fit("国人")
    with pytest.raises(TypeError, match=r"texts\[1\] must be a string or an open text file: got int"):
        WordDiscovery(engine="spark").fit(["国", 3])


def test_where_pyspark_is_missing_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(ModuleNotFoundError, match=r"Run: pip install 'gezhi\[spark\]'"):
        WordDiscovery(engine="spark").fit(["国"])


# ---- a cluster ------------------------------------------------------------------------------------------------------

CLUSTER = """
import sys
from pyspark.sql import SparkSession
from gezhi.text import WordDiscovery
from text.word_discovery_reference import random_texts
builder = SparkSession.builder.master("local-cluster[2,1,1024]")
for pair in sys.argv[2:]:
    builder = builder.config(*pair.split("=", 1))
session = builder.getOrCreate()
frame = session.createDataFrame([(text,) for text in random_texts(8)], "text string").repartition(4)
model = WordDiscovery(engine="spark", min_count=2, thresholds={2: 0.4, 3: 0.8, 4: 1.2}).fit(frame)
model.save(sys.argv[1])
print(session.sparkContext.master, len(session.sparkContext._jsc.sc().statusTracker().getExecutorInfos()))
session.stop()
"""


def test_two_executors_of_their_own(tmp_path):
    """A master and two worker processes with an executor each, on this machine."""
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    config = ["spark.ui.enabled=false", "spark.log.level=OFF", "spark.sql.shuffle.partitions=2",
              "spark.driver.host=127.0.0.1", "spark.driver.bindAddress=127.0.0.1"]  # fmt: skip
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                   "SPARK_LOCAL_IP": "127.0.0.1"}  # fmt: skip
    call = [sys.executable, "-W", "ignore", "-c", CLUSTER, str(tmp_path / "cluster.json"), *config]
    done = subprocess.run(call, capture_output=True, text=True, timeout=600, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-2:] == ["local-cluster[2,1,1024]", "3"], "the driver and two executors"
    local = WordDiscovery(min_count=2, thresholds=LOGS).fit(random_texts(8))
    assert (tmp_path / "cluster.json").read_bytes() == written(local, tmp_path)


# ---- a worker without Spark -----------------------------------------------------------------------------------------


def batches(texts, size=3):
    for start in range(0, len(texts), size):
        yield pyarrow.RecordBatch.from_pydict({"text": texts[start : start + size]})


def sums(found, key):
    total = {}
    for batch in found:
        for value, count in zip(batch[key].to_pylist(), batch["n"].to_pylist(), strict=True):
            total[value] = total.get(value, 0) + count
    return total


def test_a_worker_hands_its_counts_on_when_they_are_many(monkeypatch):
    letters, texts = alphabet(KEEP), random_texts(1)
    blocks = list(spark.to_blocks(batches(texts), letters))
    counts = sums(spark.letter_counts(iter(blocks), letters), "code")
    whole = np.zeros(letters.letters, np.int64)
    whole[list(counts)] = list(counts.values())
    whole[0] = 0
    tables = Tables.of_letters(whole, 1)
    few = list(spark.key_counts(iter(blocks), tables, letters))
    monkeypatch.setattr(spark, "BLOCK", 50)
    monkeypatch.setattr(spark, "TALLY", 1)
    monkeypatch.setattr(spark, "ROWS", 7)
    many = list(spark.key_counts(iter(blocks), tables, letters))
    assert len(many) > 10 * len(few)
    assert sums(many, "key") == sums(few, "key")
    assert max(batch.num_rows for batch in many) == 7
