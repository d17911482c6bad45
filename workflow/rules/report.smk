# Over all runs: the report, one page and its numbers; and the explorer, in which every sentence can be read.
from distrace.rows import file_digest


rule report:
    input:
        plan.report_inputs(),
    output:
        page=report("results/report/index.html", caption="../report/index.rst", category="distrace"),
        numbers="results/report/numbers.json",
        figures=directory("results/report/figures"),
    log:
        "logs/report.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        # Of a workflow that uses this one with a prefix, the prefix: the node finds all artifacts below `results`.
        root=lambda w, output: str(Path(output.page).parents[2]),
        # Not recorded, since its function takes an output: what changes no result writes no report again.
        config=lambda w, output: canonical_json(plan.config),
        read=digest(plan.without_execution()),
        version=source_digest("nodes.report"),
        templates=[file_digest(path) for path in sorted(Path(PACKAGE_FOLDER, "distrace/pages").glob("*.html"))],
    shell:
        "(cd {params.root:q} && python -m distrace.nodes.report --config {params.config:q} --out-folder results/report) "
        "2>&1 | tee {log}"


rule explorer:
    input:
        plan.explorer_inputs(),
    output:
        # Where its data are too large for one page, they lie beside it in a folder of its name.
        report("results/report/explorer.html", caption="../report/explorer.rst", category="distrace"),
    log:
        "logs/explorer.log",
    conda:
        "../../envs/distrace.yaml"
    resources:
        mem_mb=lambda w, attempt: attempt * 4000,
    params:
        root=lambda w, output: str(Path(output[0]).parents[2]),
        config=lambda w, output: canonical_json(plan.config),
        read=digest(plan.without_execution()),
        version=source_digest("nodes.explorer"),
        files=[
            file_digest(path)
            for path in sorted(Path(PACKAGE_FOLDER, "distrace/pages/explorer").rglob("*"))
            if path.suffix in (".css", ".html", ".js")
        ],
    shell:
        "(cd {params.root:q} && python -m distrace.nodes.explorer --config {params.config:q} "
        "--out-folder results/report) 2>&1 | tee {log}"
