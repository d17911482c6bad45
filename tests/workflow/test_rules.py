"""The rules as Snakemake reads them."""

from snakemake_runs import new_folder, snakemake


def test_a_plan_is_made_without_a_word_of_trouble(tmp_path, config):
    printed = snakemake(new_folder(tmp_path / "new", config), "--dry-run")
    assert "Exception" not in printed
    assert "Error" not in printed
