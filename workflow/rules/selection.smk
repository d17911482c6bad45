# Scores of a teacher's candidates, and the responses that each strategy selects from them.


rule ranking:
    input:
        rollouts=parts_of("rollouts"),
        sentences=parts_of("sentences"),
        teacher=lambda w: plan.logprobs_parts(w.author, rollout_set(w)),
        student=lambda w: plan.logprobs_parts(student_of(w), rollout_set(w)),
        contexts=lambda w: [
            plan.logprobs_parts(student_of(w), rollout_set(w), context) for context in plan.score_contexts(w.run)
        ],
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
        scores=lambda w: canonical_json(plan.scores(w.run)),
        own_scores=lambda w: canonical_json(plan.own_scores(w.run)),
        # So that a change in one of the user's files is noticed.
        digests=lambda w: {name: file_digest(Path(own["file"])) for name, own in plan.own_scores(w.run).items()},
        version=NODE_VERSIONS["ranking"],
    shell:
        "python -m distrace.nodes.ranking --rollouts {input.rollouts} --sentences {input.sentences} "
        "--teacher {input.teacher} --student {input.student} --beta {params.beta} --seed {params.seed} "
        "--scores {params.scores:q} --own-scores {params.own_scores:q} --contexts {input.contexts} "
        "--out {output.ranking} 2>&1 | tee {log}"


rule selection:
    input:
        unpack(selection_data),
    output:
        selection=f"results/selection/{{run}}/{ROLLOUT_SET}/{{strategy}}.arrow",
        rejects=f"results/selection/{{run}}/{ROLLOUT_SET}/{{strategy}}.rejects.arrow",
    log:
        f"logs/selection/{{run}}/{ROLLOUT_SET}/{{strategy}}.log",
    conda:
        "../../envs/distrace.yaml"
    resources:
        mem_mb=8000,
    params:
        options=selection_options,
        grades=lambda w, input: f"--grades {input.grades}" if "grades" in input.keys() else "",
        seed=plan.config["seed"],
        version=NODE_VERSIONS["selection"],
    shell:
        "python -m distrace.nodes.selection --rankings {input.rankings} {params.grades} --strategy {wildcards.strategy} "
        "{params.options} --seed {params.seed} --out {output.selection} 2>&1 | tee {log}"
