# Scores of a teacher's candidates, and the responses that each strategy selects from them.


rule ranking:
    input:
        rollouts=parts_of("rollouts"),
        sentences=parts_of("sentences"),
        teacher=lambda w: plan.logprobs_parts(w.author, rollout_set(w)),
        student=lambda w: plan.logprobs_parts(student_of(w), rollout_set(w)),
    output:
        ranking=f"results/ranking/{{run}}/{ROLLOUT_SET}.arrow",
        rejects=f"results/ranking/{{run}}/{ROLLOUT_SET}.rejects.arrow",
    log:
        f"logs/ranking/{{run}}/{ROLLOUT_SET}.log",
    conda:
        "../../envs/distrace.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        beta=lambda w: plan.config["runs"][w.run]["candidates"]["beta"],
        seed=plan.config["seed"],
        scores=list(SCORES),
        version=NODE_VERSIONS["ranking"],
    shell:
        "python -m distrace.nodes.ranking --rollouts {input.rollouts} --sentences {input.sentences} "
        "--teacher {input.teacher} --student {input.student} --beta {params.beta} --seed {params.seed} "
        "--out {output.ranking} 2>&1 | tee {log}"


rule selection:
    input:
        f"results/ranking/{{run}}/{ROLLOUT_SET}.arrow",
    output:
        f"results/selection/{{run}}/{ROLLOUT_SET}/{{strategy}}.arrow",
    log:
        f"logs/selection/{{run}}/{ROLLOUT_SET}/{{strategy}}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        version=NODE_VERSIONS["selection"],
    shell:
        "python -m distrace.nodes.selection --ranking {input} --strategy {wildcards.strategy} --out {output} "
        "2>&1 | tee {log}"
