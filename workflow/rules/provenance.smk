# Labels of the sentences of a distilled model (here the author), and how they lie along its responses.


def trace_log_probs(role):
    """Give an input function: the job's log-probs under the teacher, the student or the distilled model of its trace."""

    def path(w):
        scorer = {"teacher": w.teacher, "student": student_of(w), "distilled": w.author}[role]
        return f"results/logprobs/{scorer}/full/{w.author}/{w.questions}/{w.sampling}/{w.part}.arrow"

    return path


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
    params:
        thresholds=thresholds,
        version=source_digest("provenance"),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/distrace.yaml"
    shell:
        "python -m distrace.provenance --rollouts {input.rollouts} --sentences {input.sentences} "
        "--teacher {input.teacher} --student {input.student} --distilled {input.distilled} "
        "--thresholds {params.thresholds:q} --out {output.provenance} 2>&1 | tee {log}"


rule positions:
    input:
        provenance=parts_of("provenance/{run}/{teacher}"),
        grades=parts_of("grades"),
    output:
        "results/positions/{run}/{teacher}/{author}/{questions}/{sampling}.arrow",
    log:
        "logs/positions/{run}/{teacher}/{author}/{questions}/{sampling}.log",
    params:
        version=source_digest("positions"),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/distrace.yaml"
    shell:
        "python -m distrace.positions --provenance {input.provenance} --grades {input.grades} "
        "--out {output} 2>&1 | tee {log}"


rule truth:
    input:
        rollouts="results/rollouts/{author}/{questions}/{sampling}/{part}.arrow",
        sentences=lambda w: plan.sentences_path(rollout_set(w), w.part),
    output:
        "results/truth/{author}/{questions}/{sampling}/{part}.arrow",
    log:
        "logs/truth/{author}/{questions}/{sampling}/{part}.log",
    params:
        version=source_digest("truth"),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        "../../envs/distrace.yaml"
    shell:
        "python -m distrace.truth --rollouts {input.rollouts} --sentences {input.sentences} "
        "--out {output} 2>&1 | tee {log}"


rule validation:
    input:
        provenance=parts_of("provenance/{run}/{teacher}"),
        truth=parts_of("truth"),
    output:
        "results/validation/{run}/{teacher}/{author}/{questions}/{sampling}.arrow",
    log:
        "logs/validation/{run}/{teacher}/{author}/{questions}/{sampling}.log",
    params:
        pair=lambda w: as_json({"teacher": plan.style_of(w.teacher), "student": plan.style_of(student_of(w))}),
        thresholds=thresholds,
        version=source_digest("validation"),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        "../../envs/distrace.yaml"
    shell:
        "python -m distrace.validation --provenance {input.provenance} --truth {input.truth} "
        "--pair {params.pair:q} --thresholds {params.thresholds:q} --out {output} 2>&1 | tee {log}"
