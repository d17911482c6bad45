# Scores of a teacher's candidates, and the responses that each strategy selects from them.


rule ranking:
    input:
        rollouts=parts_of("rollouts"),
        sentences=lambda w: plan.rollout_parts(f"sentences/{plan.config['splitter']}", rollout_set(w)),
        teacher=parts_of("logprobs/{author}/full"),
        student=parts_of("logprobs/{student}/full"),
    output:
        ranking="results/ranking/{run}/{author}/{questions}/{sampling}.arrow",
        rejects="results/ranking/{run}/{author}/{questions}/{sampling}.rejects.arrow",
    log:
        "logs/ranking/{run}/{author}/{questions}/{sampling}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        beta=lambda w: plan.config["runs"][w.run]["candidates"]["beta"],
        seed=plan.config["seed"],
        version=NODE_VERSIONS["ranking"],
    shell:
        "python -m distrace.ranking --rollouts {input.rollouts} --sentences {input.sentences} --teacher {input.teacher} "
        "--student {input.student} --beta {params.beta} --seed {params.seed} --out {output.ranking} 2>&1 | tee {log}"


rule selection:
    input:
        "results/ranking/{run}/{author}/{questions}/{sampling}.arrow",
    output:
        "results/selection/{run}/{author}/{questions}/{sampling}/{strategy}.arrow",
    log:
        "logs/selection/{run}/{author}/{questions}/{sampling}/{strategy}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=NODE_VERSIONS["selection"],
    shell:
        "python -m distrace.selection --ranking {input} --strategy {wildcards.strategy} --out {output} 2>&1 | tee {log}"
