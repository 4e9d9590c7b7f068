"""Laws of `danqing doctor`: it says what is so here, and ends with 0 exactly where a picture can be painted."""

import json
import platform

from danqing.run.record import describe
from danqing.solve.solvers import SOLVERS
from danqing.tables import PluginWarning


def test_it_says_what_a_pictures_record_would_say_and_where_things_lie(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path / "gone"))
    code, out, _ = run("doctor", "--quick", "--json")
    said = json.loads(out)
    assert code == 0 and platform.python_version() in said["danqing"]
    assert {name: said[name] for name in describe()} == describe()
    assert said["folders of models"] == [f"{tmp_path / 'gone'} (not there)"] and "danqing-mini" in said["models"]


def test_it_times_a_picture_and_fails_where_none_can_be_painted(run, tiny):
    code, out, _ = run("doctor", "--model", str(tiny))
    assert code == 0 and "a picture of 32×32" in out and "s with loading, then" in out
    code, _, err = run("doctor", "--model", "nothing-here")
    assert code == 2 and "nothing-here" in err


def test_it_names_rows_of_other_packages_that_cannot_be_used(run, monkeypatch):
    import warnings

    def usable():
        warnings.warn("the solver 'toy' cannot be used", PluginWarning, stacklevel=1)
        return {}

    monkeypatch.setattr(SOLVERS, "usable", usable)
    assert "the solver 'toy' cannot be used" in run("doctor", "--quick")[1]
