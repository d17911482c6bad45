# Where questions and models are of the world, the true origin of every sentence is known: what the labels are worth.


rule truth:
    input:
        rollouts="results/rollouts/<rollout_set>/{part}.arrow",
        sentences=sentences_of,
    output:
        "results/truth/<rollout_set>/{part}.arrow",
    log:
        "logs/truth/<rollout_set>/{part}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        version=source_digest("nodes.truth"),
    shell:
        "python -m distrace.nodes.truth --rollouts {input.rollouts} --sentences {input.sentences} "
        "--out {output} 2>&1 | tee {log}"


rule separation:
    input:
        sentences=sentences_of,
        truth="results/truth/<rollout_set>/{part}.arrow",
        teacher=traced_logprobs("teacher"),
        student=traced_logprobs("student"),
    output:
        separation="results/separation/<trace>/{part}.arrow",
        rejects="results/separation/<trace>/{part}.rejects.arrow",
    log:
        "logs/separation/<trace>/{part}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        pair=styles,
        version=source_digest("nodes.separation"),
    shell:
        "python -m distrace.nodes.separation --sentences {input.sentences} --truth {input.truth} "
        "--teacher {input.teacher} --student {input.student} --pair {params.pair:q} --out {output.separation} "
        "2>&1 | tee {log}"


rule validation:
    input:
        provenance=lambda w: plan.trace_parts(trace(w)),
        truth=parts_of("truth"),
    output:
        "results/validation/<trace>.arrow",
    log:
        "logs/validation/<trace>.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        pair=styles,
        thresholds=thresholds,
        version=source_digest("nodes.validation"),
    shell:
        "python -m distrace.nodes.validation --provenance {input.provenance} --truth {input.truth} "
        "--pair {params.pair:q} --thresholds {params.thresholds:q} --out {output} 2>&1 | tee {log}"
