# The log-probs that any scorer gives to the tokens of any author's rollouts.


rule logprobs:
    input:
        model=lambda w: planning.model_path(w.scorer),
        rollouts=f"results/rollouts/{ROLLOUT_PART}.arrow",
        questions="results/questions/{questions}/{part}.arrow",
        sentences=lambda w: sentences_of(w) if w.context.startswith("window") else [],
    output:
        logprobs=f"results/logprobs/{{scorer}}/{{context}}/{ROLLOUT_PART}.arrow",
        rejects=f"results/logprobs/{{scorer}}/{{context}}/{ROLLOUT_PART}.rejects.arrow",
    log:
        f"logs/logprobs/{{scorer}}/{{context}}/{ROLLOUT_PART}.log",
    conda:
        engine_environment("scorer")
    threads: of_model("scorer", "threads")
    resources:
        **engine_resources("scorer"),
    params:
        settings=lambda w: as_json(plan.model_settings(w.scorer)),
        sentences=lambda w, input: f"--sentences {input.sentences}" if input.sentences else "",
        recorded=lambda w: "--own-logprobs recorded" if takes_recorded(w) else "",
        version=NODE_VERSIONS["logprobs"],
    shell:
        "{resources.python:q} -m distrace.nodes.logprobs --model {input.model} --rollouts {input.rollouts} "
        "--questions {input.questions} {params.sentences} {params.recorded} --settings {params.settings:q} "
        "--context {wildcards.context} --execution {resources.execution:q} --gpus {resources.gpu} "
        "--out {output.logprobs} 2>&1 | tee {log}"
