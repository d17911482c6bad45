# One page and its numbers, over all runs.
from distrace.rows import file_digest


rule report:
    input:
        plan.report_inputs(),
    output:
        page=report("results/report/index.html", caption="../report/index.rst", category="distrace"),
        numbers="results/report/numbers.json",
    log:
        "logs/report.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        config=lambda w: canonical_json(plan.config),
        version=source_digest("nodes.report"),
        template=file_digest(Path(PACKAGE_FOLDER, "distrace/pages/report.html")),
    shell:
        "python -m distrace.nodes.report --config {params.config:q} --out-folder results/report 2>&1 | tee {log}"
