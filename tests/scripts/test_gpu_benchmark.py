"""scripts/gpu_benchmark: on a processor it measures the same steps, and nothing that fails is hidden."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from programs import ROOT

from softvote.config.recipe import Member
from softvote.errors import UserError

sys.path.insert(0, str(ROOT / "scripts"))

from gpu_benchmark import checks, crew, main, trial


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The crew's trials are made here, one after the other."""

    class Crew(crew.Crew):
        def start(self, count: int, rows: int) -> None:
            self.rows, self.started = rows, 0.25
            self.trials = [None] * count

        def tell(self, count: int, what: str, *arguments: object) -> list[object]:
            if what == "build":
                self.trials[:count] = [trial.Trial(*arguments, self.rows) for _ in range(count)]
                return [each.compute_config.to_json() for each in self.trials[:count]]
            name = {"record": "record", "time": "images_per_second"}[what]
            return [getattr(each, name)(*arguments) for each in self.trials[:count]]

    monkeypatch.setattr(main, "Crew", Crew)
    monkeypatch.setattr(main, "check_learning", lambda seconds: ["it learns"])


@pytest.mark.slow
def test_what_is_measured_is_written_and_the_plan_foretold(
    one_process: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--networks", "cnn", "--batch", "8", "--processes", "1", "2", "--rows", "40", "--lap", "0.01"]
    assert main.main([*words, "--plan", "cnn:3:10", "stn_cnn:1:1", "--to", str(tmp_path)]) == 0
    facts = json.loads((tmp_path / "gpu_benchmark.json").read_text())
    (row,) = facts["rows"]
    assert row["network"] == "cnn" and row["batch"] == 8 and 15 < row["mmac"] < 25
    assert set(row["recorded"]) == {"1", "2"} and min(row["plain"], *row["recorded"].values()) > 0
    assert facts["checks"] == ["cpu draws the same bits as the processor", "it learns"]
    said = capsys.readouterr().out
    seconds = 3 * (42_000 * 0.9 * 10 + (28_000 + 4_200) / 2) / max(row["recorded"].values())
    assert f"cnn: 3 x 10 epochs, {seconds:.0f} s" in said and "stn_cnn: not measured" in said


@pytest.mark.slow
def test_what_time_does_not_reach_is_named(one_process: None, tmp_path: Path, capsys: object) -> None:
    assert main.main(["--networks", "cnn", "--seconds", "0", "--to", str(tmp_path)]) == 0
    facts = json.loads((tmp_path / "gpu_benchmark.json").read_text())
    assert facts["rows"] == [] and facts["left_out"] == ["cnn at 256", "cnn at 128"]


def test_a_network_that_fails_costs_no_other(
    one_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = main.measure

    def failing(crew: object, member: Member, *arguments: object) -> object:
        if member.model == "resnet5":
            raise RuntimeError("out of memory")
        return measure(crew, member, *arguments)

    monkeypatch.setattr(main, "measure", failing)
    words = ["--batch", "8", "--processes", "1", "--rows", "40", "--lap", "0.01", "--to", str(tmp_path)]
    assert main.main(["--networks", "resnet5", "cnn", *words]) == 0
    facts = json.loads((tmp_path / "gpu_benchmark.json").read_text())
    assert [row["network"] for row in facts["rows"]] == ["cnn"]
    assert facts["left_out"] == ["resnet5 at 8 (out of memory)"]


def test_other_draws_stop_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    uniforms = checks.uniforms
    monkeypatch.setattr(checks, "uniforms", lambda *words: uniforms(*words) + 1e-6)
    with pytest.raises(UserError, match="draws on cpu differ"):
        checks.check_draws()
    assert main.main(["--networks", "cnn"]) == 1


def test_an_unknown_network_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--networks", "cnm"]) == 1
    assert "--networks cnm: no such network; known: doucet_resnet" in capsys.readouterr().err
