# Questions, from a file, a hub data set or the world.


rule questions:
    input:
        source=lambda w: plan.config["questions"][w.questions]["source"]["file"] or [],
    output:
        questions="results/questions/{questions}/{part}.arrow",
        rejects="results/questions/{questions}/{part}.rejects.arrow",
    log:
        "logs/questions/{questions}/{part}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        settings=questions_settings,
        parts=lambda w: plan.config["questions"][w.questions]["parts"],
        version=NODE_VERSIONS["questions"],
    shell:
        "python -m distrace.nodes.questions --settings {params.settings:q} --part {wildcards.part} "
        "--parts {params.parts} --out {output.questions} 2>&1 | tee {log}"
