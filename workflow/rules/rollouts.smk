# Responses, sampled from a model or taken from a file; their sentences; their grades.


rule rollouts:
    input:
        model="results/models/{author}/model.json",
        questions="results/questions/{questions}/{part}.arrow",
    output:
        rollouts=f"results/rollouts/{ROLLOUT_PART}.arrow",
        rejects=f"results/rollouts/{ROLLOUT_PART}.rejects.arrow",
    log:
        f"logs/rollouts/{ROLLOUT_PART}.log",
    wildcard_constraints:
        sampling=names(plan.samplings(imported=False)),
    conda:
        engine_environment("author")
    threads: of_model("author", "threads")
    resources:
        **engine_resources("author"),
    params:
        settings=lambda w: as_json(plan.model_settings(w.author)),
        sampling=lambda w: as_json(plan.sampling(w.sampling)),
        version=NODE_VERSIONS["rollouts"],
    shell:
        "{resources.python:q} -m distrace.nodes.rollouts --model {input.model} --questions {input.questions} "
        "--settings {params.settings:q} --sampling {params.sampling:q} --execution {resources.execution:q} "
        "--gpus {resources.gpu} --out {output.rollouts} 2>&1 | tee {log}"


rule imported_rollouts:
    input:
        responses=lambda w: plan.config["sampling"][w.sampling]["responses"]["file"],
        model=lambda w: planning.model_path(w.author) if author_of_tokens(w) else [],
        questions="results/questions/{questions}/{part}.arrow",
    output:
        rollouts=f"results/rollouts/{ROLLOUT_PART}.arrow",
        rejects=f"results/rollouts/{ROLLOUT_PART}.rejects.arrow",
    log:
        f"logs/rollouts/{ROLLOUT_PART}.log",
    wildcard_constraints:
        sampling=names(plan.samplings(imported=True)),
    conda:
        "../../envs/distrace.yaml"
    params:
        settings=lambda w: as_json(plan.config["sampling"][w.sampling]["responses"]),
        author=author_of_tokens,
        version=NODE_VERSIONS["rollouts"],
    shell:
        "python -m distrace.nodes.imported_rollouts --author {wildcards.author} --questions {input.questions} "
        "--settings {params.settings:q} {params.author} --out {output.rollouts} 2>&1 | tee {log}"


rule sentences:
    input:
        rollouts=f"results/rollouts/{ROLLOUT_PART}.arrow",
    output:
        f"results/sentences/{{splitter}}/{ROLLOUT_PART}.arrow",
    log:
        f"logs/sentences/{{splitter}}/{ROLLOUT_PART}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        version=NODE_VERSIONS["sentences"],
    shell:
        "python -m distrace.nodes.sentences --rollouts {input.rollouts} --splitter {wildcards.splitter} "
        "--out {output} 2>&1 | tee {log}"


rule grades:
    input:
        rollouts=f"results/rollouts/{ROLLOUT_PART}.arrow",
        questions="results/questions/{questions}/{part}.arrow",
    output:
        f"results/grades/{ROLLOUT_PART}.arrow",
    log:
        f"logs/grades/{ROLLOUT_PART}.log",
    conda:
        "../../envs/distrace.yaml"
    resources:
        runtime=120,
    params:
        grader=lambda w: as_json(plan.config["questions"][w.questions]["grader"]),
        version=source_digest("nodes.grades"),
    shell:
        "python -m distrace.nodes.grades --rollouts {input.rollouts} --questions {input.questions} "
        "--grader {params.grader:q} --out {output} 2>&1 | tee {log}"
