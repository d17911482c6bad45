"""Settings and what of them enters fingerprints."""

from dataclasses import asdict, dataclass, field, replace

from distrace.settings import ModelSettings, Sampling, Training, as_identity


def test_settings_that_came_later_enter_fingerprints_only_where_they_are_used():
    assert as_identity(Training()).keys() == asdict(Training()).keys() - {"packing", "held_out"}
    used = as_identity(replace(Training(), packing=True, held_out=3))
    assert (used["packing"], used["held_out"]) == (True, 3)


def test_settings_that_were_always_there_enter_fingerprints_with_their_defaults():
    for settings in (ModelSettings(), Sampling(samples=3)):
        assert as_identity(settings).keys() >= {"engine"} & asdict(settings).keys()
    assert as_identity(ModelSettings()) == asdict(ModelSettings())


def test_a_default_that_is_spelt_out_is_a_default():
    @dataclass(frozen=True)
    class Some:
        old: int = 1
        new: float = field(default=0, metadata={"later": True})

    assert as_identity(Some(new=0.0)) == {"old": 1}
    assert as_identity(Some(new=0.5)) == {"old": 1, "new": 0.5}
