"""The README's script runs as it is printed."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_script_runs(minilm_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert script is not None
    assert minilm_folder.is_dir()
    exec(compile(script[1], "README.md", "exec"), {})
    neurons, curve = capsys.readouterr().out.splitlines()
    assert neurons.count("Neuron(") == 8
    points = re.findall(r"\((0\.\d+), ([\d.]+), ([\d.]+), ([\d.]+)\)", curve)
    assert [point[0] for point in points] == ["0.1", "0.2"]
    for _, top, random, bottom in points:
        assert float(top) > float(random) > float(bottom)
