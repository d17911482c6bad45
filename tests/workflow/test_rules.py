"""The rules as Snakemake reads them."""

from snakemake_runs import new_folder, snakemake


def test_a_plan_is_made_without_a_word_of_trouble(tmp_path, config):
    printed = snakemake(new_folder(tmp_path / "new", config), "--dry-run")
    assert "Exception" not in printed
    assert "Error" not in printed


def test_what_a_clusters_profile_says_of_cheap_jobs_holds(tmp_path, config):
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text("default-resources:\n  mem_mb: 1234 * attempt\n  slurm_partition: small\n")
    printed = snakemake(new_folder(tmp_path / "new", config), "--dry-run", "--profile", str(profile))
    assert "mem_mb=1234" in printed
    assert "slurm_partition=small" in printed
