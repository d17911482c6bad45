# Responses, sampled from a model or taken from a file; their sentences; their grades.


# Imported responses come with their list. Once they are there, `parts` could write it too, from them.
ruleorder: imported_rollouts > parts


rule rollouts:
    input:
        model="results/models/{author}/model.json",
        questions=lambda w: [] if written_with_rollouts(w) else plan.questions_parts(w.questions),
        begun=beginnings,
    output:
        rollouts=f"results/rollouts/{ROLLOUT_PART}.arrow",
        rejects=f"results/rollouts/{ROLLOUT_PART}.rejects.arrow",
    log:
        f"logs/rollouts/{ROLLOUT_PART}.log",
    priority: 1
    conda:
        engine_environment("author")
    threads: of_model("author", "threads")
    resources:
        **engine_resources("author"),
    params:
        made_from=made_from,
        # Snakemake records no param whose function takes an input: that a set has grown makes no part stale.
        questions=questions_options,
        settings=lambda w: settings_of(w.author),
        sampling=lambda w: sampling_of(w.sampling),
        version=NODE_VERSIONS["rollouts"],
    shell:
        "{resources.python:q} -m distrace.nodes.rollouts --model {input.model} {params.questions} "
        "--settings {params.settings:q} --sampling {params.sampling:q} --execution {resources.execution:q} "
        "--gpus {resources.gpu} --out {output.rollouts} 2>&1 | tee {log}"


rule imported_rollouts:
    input:
        responses=files_of_responses,
        model=lambda w: planning.model_path(w.author) if author_of_tokens(w) else [],
        questions="results/questions/{questions}/parts.arrow",
    output:
        f"results/rollouts/{ROLLOUT_SET}/parts.arrow",
    log:
        f"logs/rollouts/{ROLLOUT_SET}.log",
    wildcard_constraints:
        author=imported_authors(),
    conda:
        "../../envs/distrace.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: attempt * 4000,
    params:
        settings=lambda w: as_json(responses_of(w)),
        author=author_of_tokens,
        model=lambda w, input: f"--model {input.model}" if input.model else "",
        version=NODE_VERSIONS["imported_rollouts"],
    shell:
        "python -m distrace.nodes.imported_rollouts --author {wildcards.author} --questions {input.questions} "
        "--settings {params.settings:q} {params.model} {params.author} "
        "--threads {threads} --out {output} 2>&1 | tee {log}"


rule sentences:
    input:
        rollouts=parts_of("rollouts"),
    output:
        f"results/sentences/{{splitter}}/{ROLLOUT_SET}/parts.arrow",
    log:
        f"logs/sentences/{{splitter}}/{ROLLOUT_SET}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: parts_at_once
    resources:
        mem_mb=memory_of_parts,
    params:
        version=NODE_VERSIONS["sentences"],
    shell:
        "python -m distrace.nodes.sentences --rollouts {input.rollouts} --splitter {wildcards.splitter} "
        "--threads {threads} --out {output} 2>&1 | tee {log}"


rule grades:
    input:
        rollouts=parts_of("rollouts"),
        questions="results/questions/{questions}/parts.arrow",
    output:
        f"results/grades/{ROLLOUT_SET}/parts.arrow",
    log:
        f"logs/grades/{ROLLOUT_SET}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: parts_at_once
    resources:
        mem_mb=memory_of_parts,
        runtime=120,
    params:
        grader=lambda w: as_json(plan.config["questions"][w.questions]["grader"]),
        version=source_digest("nodes.grades"),
    shell:
        "python -m distrace.nodes.grades --rollouts {input.rollouts} --questions {input.questions} "
        "--grader {params.grader:q} --threads {threads} --out {output} 2>&1 | tee {log}"
