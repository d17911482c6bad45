# Questions, from a file, a hub data set or the world; one job writes all parts of a set.


rule questions:
    input:
        source=lambda w: plan.config["questions"][w.questions]["source"]["file"] or [],
    output:
        "results/questions/{questions}/parts.arrow",
    log:
        "logs/questions/{questions}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        settings=lambda w: as_json(plan.questions(w.questions)),
        cut=lambda w: as_json(plan.cut(w.questions)),
        version=NODE_VERSIONS["questions"],
    shell:
        "python -m distrace.nodes.questions --settings {params.settings:q} --cut {params.cut:q} --out {output} "
        "2>&1 | tee {log}"
