# Labels of the sentences of a distilled model (here the author), how they lie along its responses, and whose it is.


rule provenance:
    input:
        rollouts=parts_of("rollouts"),
        sentences=parts_of("sentences"),
        teacher=traced_logprobs("teacher"),
        student=traced_logprobs("student"),
        distilled=traced_logprobs("distilled"),
    output:
        f"results/provenance/{TRACE_IN_CONTEXT}/parts.arrow",
    log:
        f"logs/provenance/{TRACE_IN_CONTEXT}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: parts_at_once
    resources:
        mem_mb=memory_of_parts,
    params:
        thresholds=thresholds,
        version=source_digest("nodes.provenance"),
    shell:
        "python -m distrace.nodes.provenance --rollouts {input.rollouts} --sentences {input.sentences} "
        "--teacher {input.teacher} --student {input.student} --distilled {input.distilled} "
        "--thresholds {params.thresholds:q} --threads {threads} --out {output} 2>&1 | tee {log}"


rule float32_check:
    input:
        rollouts=lambda w: plan.written_rollouts(rollout_set(w), w.part),
        sentences=parts_of("sentences"),
        own=checked_logprobs(in_float32=False),
        float32=checked_logprobs(in_float32=True),
    output:
        checked=f"results/float32_check/{TRACE_PART}.arrow",
        rejects=f"results/float32_check/{TRACE_PART}.rejects.arrow",
    log:
        f"logs/float32_check/{TRACE_PART}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        rollouts=lambda w, input: part_beside(input.rollouts, w),
        sentences=lambda w, input: part_beside(input.sentences, w),
        thresholds=thresholds,
        version=source_digest("nodes.float32_check"),
    shell:
        "python -m distrace.nodes.float32_check --rollouts {params.rollouts} --sentences {params.sentences} "
        "--own {input.own} --float32 {input.float32} --thresholds {params.thresholds:q} --out {output.checked} "
        "2>&1 | tee {log}"


rule positions:
    input:
        rollouts=parts_of("rollouts"),
        sentences=parts_of("sentences"),
        provenance=lambda w: plan.trace_parts(trace(w)),
        grades=parts_of("grades"),
    output:
        positions=f"results/positions/{TRACE_IN_CONTEXT}.arrow",
        by_question=f"results/positions_by_question/{TRACE_IN_CONTEXT}.arrow",
    log:
        f"logs/positions/{TRACE_IN_CONTEXT}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        version=source_digest("nodes.positions"),
    shell:
        "python -m distrace.nodes.positions --rollouts {input.rollouts} --sentences {input.sentences} "
        "--provenance {input.provenance} --grades {input.grades} --by-question {output.by_question} "
        "--out {output.positions} 2>&1 | tee {log}"


rule sensitivity:
    input:
        rollouts=parts_of("rollouts"),
        provenance=lambda w: plan.trace_parts(trace(w)),
        teacher=traced_logprobs("teacher"),
        student=traced_logprobs("student"),
        distilled=traced_logprobs("distilled"),
    output:
        f"results/sensitivity/{TRACE}.arrow",
    log:
        f"logs/sensitivity/{TRACE}.log",
    conda:
        "../../envs/distrace.yaml"
    resources:
        runtime=120,
    params:
        splitter=plan.config["splitter"],
        thresholds=thresholds,
        version=source_digest("nodes.sensitivity"),
    shell:
        "python -m distrace.nodes.sensitivity --rollouts {input.rollouts} --provenance {input.provenance} "
        "--teacher {input.teacher} --student {input.student} --distilled {input.distilled} "
        "--splitter {params.splitter} --thresholds {params.thresholds:q} --out {output} 2>&1 | tee {log}"


rule attribution:
    input:
        unpack(attribution_data),
    output:
        attribution=f"results/attribution/{{run}}/{ROLLOUT_SET}.arrow",
        rejects=f"results/attribution/{{run}}/{ROLLOUT_SET}.rejects.arrow",
    log:
        f"logs/attribution/{{run}}/{ROLLOUT_SET}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        teachers=lambda w: canonical_json(plan.config["runs"][w.run]["teachers"]),
        beta=lambda w: plan.config["runs"][w.run]["beta"],
        references=references_options,
        version=source_digest("nodes.attribution"),
    shell:
        "python -m distrace.nodes.attribution --teachers {params.teachers:q} --beta {params.beta} "
        "--distilled-rollouts {input.distilled_rollouts} --distilled-sentences {input.distilled_sentences} "
        "--distilled-logprobs {input.distilled_logprobs} --student-rollouts {input.student_rollouts} "
        "--student-sentences {input.student_sentences} --student-logprobs {input.student_logprobs} "
        "{params.references} --out {output.attribution} 2>&1 | tee {log}"


rule distilldetect:
    input:
        unpack(distilldetect_data),
    output:
        losses=f"results/distilldetect/{{run}}/{ROLLOUT_SET}.arrow",
        rejects=f"results/distilldetect/{{run}}/{ROLLOUT_SET}.rejects.arrow",
    log:
        f"logs/distilldetect/{{run}}/{ROLLOUT_SET}.log",
    conda:
        "../../envs/distrace.yaml"
    params:
        teachers=lambda w: canonical_json(plan.config["runs"][w.run]["teachers"]),
        version=source_digest("nodes.distilldetect"),
    shell:
        "python -m distrace.nodes.distilldetect --teachers {params.teachers:q} --rollouts {input.rollouts} "
        "--distilled {input.distilled} --student {input.student} --references {input.references} --out {output.losses} "
        "2>&1 | tee {log}"
