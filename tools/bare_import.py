"""Install the built wheel without extras beside the core alone, and import every wing from it.

The core packages come from the running environment; those of the extras are hidden, so an import at module level
that needs one of them fails here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HIDDEN = ("typer", "rich", "pydantic", "jinja2", "latex2mathml", "platformdirs", "polars",
          "markdown_it", "transformers", "sentence_transformers", "diffusers", "pytest", "beartype")  # fmt: skip
CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
for name in {hidden!r}:
    sys.modules[name] = None
import gezhi
assert gezhi.__file__.startswith(sys.argv[1]), gezhi.__file__
assert "torch" not in sys.modules, "import gezhi loads torch"
for wing in gezhi.__all__[1:]:
    getattr(gezhi, wing)
from gezhi._catalogue import methods, pages, reference
for method in methods().values():
    module = __import__(method.module, fromlist=["*"])
    missing = [name for name in method.public if not hasattr(module, name)]
    assert not missing, (method.stem, missing)
    assert (pages() / (method.stem + ".md")).exists(), method.stem
assert (reference() / "finetune.json").exists(), "the reference run is not in the wheel"
try:
    import gezhi.lab
except ModuleNotFoundError as error:
    assert "gezhi[lab]" in str(error), error
else:
    raise AssertionError("gezhi.lab imports without its extra")
print(f"gezhi {{gezhi.__version__}}: {{len(methods())}} methods import without extras")
"""


def main(folder: str) -> None:
    (wheel,) = Path(folder).glob("*.whl")
    with tempfile.TemporaryDirectory() as target:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
        call = [sys.executable, "-c", CHECK.format(hidden=HIDDEN), target]
        sys.exit(subprocess.run(call, check=False, cwd=target).returncode)


main(sys.argv[1])
