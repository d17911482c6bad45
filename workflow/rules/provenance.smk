# Labels of the sentences of a distilled model (here the author), and how they lie along its responses.


rule provenance:
    input:
        rollouts="results/rollouts/{author}/{questions}/{sampling}/{part}.arrow",
        sentences=lambda w: plan.sentences_path(rollout_set(w), w.part),
        teacher=trace_log_probs("teacher"),
        student=trace_log_probs("student"),
        distilled=trace_log_probs("distilled"),
    output:
        provenance="results/provenance/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.arrow",
        rejects="results/provenance/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.rejects.arrow",
    log:
        "logs/provenance/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        thresholds=thresholds,
        version=source_digest("provenance"),
    shell:
        "python -m distrace.provenance --rollouts {input.rollouts} --sentences {input.sentences} "
        "--teacher {input.teacher} --student {input.student} --distilled {input.distilled} "
        "--thresholds {params.thresholds:q} --out {output.provenance} 2>&1 | tee {log}"


rule precision:
    input:
        rollouts="results/rollouts/{author}/{questions}/{sampling}/{part}.arrow",
        sentences=lambda w: plan.sentences_path(rollout_set(w), w.part),
        own=lambda w: compared_log_probs(w, in_float32=False),
        float32=lambda w: compared_log_probs(w, in_float32=True),
    output:
        precision="results/precision/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.arrow",
        rejects="results/precision/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.rejects.arrow",
    log:
        "logs/precision/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        thresholds=thresholds,
        version=source_digest("precision"),
    shell:
        "python -m distrace.precision --rollouts {input.rollouts} --sentences {input.sentences} --own {input.own} "
        "--float32 {input.float32} --thresholds {params.thresholds:q} --out {output.precision} 2>&1 | tee {log}"


rule positions:
    input:
        provenance=parts_of("provenance/{run}/{teacher}"),
        grades=parts_of("grades"),
    output:
        "results/positions/{run}/{teacher}/{author}/{questions}/{sampling}.arrow",
    log:
        "logs/positions/{run}/{teacher}/{author}/{questions}/{sampling}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=source_digest("positions"),
    shell:
        "python -m distrace.positions --provenance {input.provenance} --grades {input.grades} "
        "--out {output} 2>&1 | tee {log}"


rule attribution:
    input:
        unpack(attribution_data),
    output:
        attribution="results/attribution/{run}/{author}/{questions}/{sampling}.arrow",
        rejects="results/attribution/{run}/{author}/{questions}/{sampling}.rejects.arrow",
    log:
        "logs/attribution/{run}/{author}/{questions}/{sampling}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        teachers=lambda w: canonical_json(plan.config["runs"][w.run]["teachers"]),
        beta=lambda w: plan.config["runs"][w.run]["beta"],
        version=source_digest("attribution"),
    shell:
        "python -m distrace.attribution --teachers {params.teachers:q} --beta {params.beta} "
        "--distilled-rollouts {input.distilled_rollouts} --distilled-sentences {input.distilled_sentences} "
        "--distilled-logprobs {input.distilled_logprobs} --student-rollouts {input.student_rollouts} "
        "--student-sentences {input.student_sentences} --student-logprobs {input.student_logprobs} "
        "--out {output.attribution} 2>&1 | tee {log}"


rule truth:
    input:
        rollouts="results/rollouts/{author}/{questions}/{sampling}/{part}.arrow",
        sentences=lambda w: plan.sentences_path(rollout_set(w), w.part),
    output:
        "results/truth/{author}/{questions}/{sampling}/{part}.arrow",
    log:
        "logs/truth/{author}/{questions}/{sampling}/{part}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=source_digest("truth"),
    shell:
        "python -m distrace.truth --rollouts {input.rollouts} --sentences {input.sentences} "
        "--out {output} 2>&1 | tee {log}"


rule separation:
    input:
        sentences=lambda w: plan.sentences_path(rollout_set(w), w.part),
        truth="results/truth/{author}/{questions}/{sampling}/{part}.arrow",
        teacher="results/logprobs/{teacher}/full/{author}/{questions}/{sampling}/{part}.arrow",
        student=trace_log_probs("student"),
    output:
        separation="results/separation/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.arrow",
        rejects="results/separation/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.rejects.arrow",
    log:
        "logs/separation/{run}/{teacher}/{author}/{questions}/{sampling}/{part}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        pair=lambda w: as_json({"teacher": plan.style_of(w.teacher), "student": plan.style_of(student_of(w))}),
        version=source_digest("separation"),
    shell:
        "python -m distrace.separation --sentences {input.sentences} --truth {input.truth} --teacher {input.teacher} "
        "--student {input.student} --pair {params.pair:q} --out {output.separation} 2>&1 | tee {log}"


rule validation:
    input:
        provenance=parts_of("provenance/{run}/{teacher}"),
        truth=parts_of("truth"),
    output:
        "results/validation/{run}/{teacher}/{author}/{questions}/{sampling}.arrow",
    log:
        "logs/validation/{run}/{teacher}/{author}/{questions}/{sampling}.log",
    conda:
        "../../envs/distrace.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        pair=lambda w: as_json({"teacher": plan.style_of(w.teacher), "student": plan.style_of(student_of(w))}),
        thresholds=thresholds,
        version=source_digest("validation"),
    shell:
        "python -m distrace.validation --provenance {input.provenance} --truth {input.truth} "
        "--pair {params.pair:q} --thresholds {params.thresholds:q} --out {output} 2>&1 | tee {log}"
