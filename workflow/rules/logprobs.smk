# The log-probs that any scorer gives to the tokens of any author's rollouts.


rule logprobs:
    input:
        model=lambda w: planning.model_path(w.scorer),
        rollouts=lambda w: plan.written_rollouts(rollout_set(w), w.part),
        sentences=lambda w: parts_of("sentences")(w) if w.context.startswith("window") else [],
    output:
        logprobs=f"results/logprobs/{{scorer}}/{{context}}/{ROLLOUT_PART}.arrow",
        rejects=f"results/logprobs/{{scorer}}/{{context}}/{ROLLOUT_PART}.rejects.arrow",
    log:
        f"logs/logprobs/{{scorer}}/{{context}}/{ROLLOUT_PART}.log",
    # Trainings wait for those of candidates, and most that is left waits for the trainings.
    priority: lambda w: 2 if rollout_set(w) in all_candidates() else 0
    conda:
        engine_environment("scorer")
    threads: of_model("scorer", "threads")
    resources:
        **engine_resources("scorer"),
    params:
        options=logprobs_options,
        responses=responses_options,
        version=NODE_VERSIONS["logprobs"],
    shell:
        "{resources.python:q} -m distrace.nodes.logprobs --model {input.model} {params.responses} {params.options} "
        "--context {wildcards.context} --execution {resources.execution:q} --threads {threads} --gpus {resources.gpu} "
        "--out {output.logprobs} 2>&1 | tee {log}"
