# One page and its numbers, over all runs.
from distrace.rows import file_digest
from distrace.summary import report_inputs


rule report:
    input:
        report_inputs(plan),
    output:
        page=report("results/report/index.html", caption="../report/index.rst", category="distrace"),
        numbers="results/report/numbers.json",
    log:
        "logs/report.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=lambda w: canonical_json(plan.config),
        version=source_digest("report"),
        template=file_digest(Path(PACKAGE_FOLDER, "distrace/templates/report.html")),
    shell:
        "python -m distrace.report --config {params.config:q} --out-folder results/report 2>&1 | tee {log}"
