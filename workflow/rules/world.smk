# Where questions and models are of the world, the true origin of every sentence is known: what the labels are worth.


rule truth:
    input:
        rollouts=parts_of("rollouts"),
        sentences=parts_of("sentences"),
    output:
        f"results/truth/{ROLLOUT_SET}/parts.arrow",
    log:
        f"logs/truth/{ROLLOUT_SET}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: parts_at_once
    resources:
        mem_mb=memory_of_parts,
    params:
        dials=as_json(asdict(plan.dials)),
        version=source_digest("nodes.truth"),
    shell:
        "python -m distrace.nodes.truth --rollouts {input.rollouts} --sentences {input.sentences} --dials {params.dials:q} "
        "--threads {threads} --out {output} 2>&1 | tee {log}"


rule oracle:
    input:
        questions=lambda w: plan.questions_parts(w.questions),
        rollouts=parts_of("rollouts"),
        sentences=parts_of("sentences"),
        provenance=lambda w: plan.trace_parts(trace(w)),
    output:
        f"results/oracle/{TRACE}/parts.arrow",
    log:
        f"logs/oracle/{TRACE}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: parts_at_once
    resources:
        mem_mb=memory_of_parts,
    params:
        pair=authors,
        dials=as_json(asdict(plan.dials)),
        thresholds=thresholds,
        version=source_digest("nodes.oracle"),
    shell:
        "python -m distrace.nodes.oracle --questions {input.questions} --rollouts {input.rollouts} "
        "--sentences {input.sentences} --provenance {input.provenance} --pair {params.pair:q} --dials {params.dials:q} "
        "--thresholds {params.thresholds:q} --threads {threads} --out {output} 2>&1 | tee {log}"


rule separation:
    input:
        sentences=parts_of("sentences"),
        truth=f"results/truth/{ROLLOUT_SET}/parts.arrow",
        teacher=traced_logprobs("teacher"),
        student=traced_logprobs("student"),
    output:
        f"results/separation/{TRACE_IN_CONTEXT}/parts.arrow",
    log:
        f"logs/separation/{TRACE_IN_CONTEXT}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: parts_at_once
    resources:
        mem_mb=memory_of_parts,
    params:
        pair=styles,
        version=source_digest("nodes.separation"),
    shell:
        "python -m distrace.nodes.separation --sentences {input.sentences} --truth {input.truth} "
        "--teacher {input.teacher} --student {input.student} --pair {params.pair:q} --threads {threads} --out {output} "
        "2>&1 | tee {log}"


rule validation:
    input:
        provenance=lambda w: plan.trace_parts(trace(w)),
        truth=parts_of("truth"),
    output:
        f"results/validation/{TRACE_IN_CONTEXT}.arrow",
    log:
        f"logs/validation/{TRACE_IN_CONTEXT}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        pair=styles,
        thresholds=thresholds,
        version=source_digest("nodes.validation"),
    shell:
        "python -m distrace.nodes.validation --provenance {input.provenance} --truth {input.truth} "
        "--pair {params.pair:q} --thresholds {params.thresholds:q} --out {output} 2>&1 | tee {log}"
