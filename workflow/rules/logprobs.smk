# The log-probs that any scorer gives to the tokens of any author's rollouts.


rule logprobs:
    input:
        model=lambda w: planning.model_path(w.scorer),
        rollouts="results/rollouts/{author}/{questions}/{sampling}/{part}.arrow",
        questions="results/questions/{questions}/{part}.arrow",
        sentences=lambda w: (plan.sentences_path(rollout_set(w), w.part) if w.context.startswith("window") else []),
    output:
        logprobs="results/logprobs/{scorer}/{context}/{author}/{questions}/{sampling}/{part}.arrow",
        rejects="results/logprobs/{scorer}/{context}/{author}/{questions}/{sampling}/{part}.rejects.arrow",
    log:
        "logs/logprobs/{scorer}/{context}/{author}/{questions}/{sampling}/{part}.log",
    conda:
        engine_environment("scorer")
    threads: scoring("threads")
    resources:
        **scoring_resources(),
    params:
        settings=lambda w: as_json(plan.model_settings(w.scorer)),
        sentences=lambda w, input: f"--sentences {input.sentences}" if input.sentences else "",
        recorded=lambda w: "--log-probs recorded" if plan.takes_recorded(w.scorer, w.author, w.context) else "",
        version=NODE_VERSIONS["logprobs"],
    shell:
        "{resources.python:q} -m distrace.logprobs --model {input.model} --rollouts {input.rollouts} "
        "--questions {input.questions} {params.sentences} {params.recorded} --settings {params.settings:q} "
        "--context {wildcards.context} --execution {resources.execution:q} --out {output.logprobs} 2>&1 | tee {log}"
