# Which of its sentences a distilled model (here the author) has from the responses that it was trained on.


rule evidence:
    input:
        unpack(evidence_data),
        rollouts=parts_of("rollouts"),
        sentences=parts_of("sentences"),
    output:
        f"results/evidence/{{run}}/{ROLLOUT_SET}/parts.arrow",
    log:
        f"logs/evidence/{{run}}/{ROLLOUT_SET}.log",
    conda:
        "../../envs/distrace.yaml"
    resources:
        mem_mb=lambda w, attempt: attempt * 4000,
    params:
        version=source_digest("nodes.evidence"),
    shell:
        "python -m distrace.nodes.evidence --rollouts {input.rollouts} --sentences {input.sentences} "
        "--training {input.training} --training-sentences {input.training_sentences} --selections {input.selections} "
        "--control {input.control} --control-sentences {input.control_sentences} --out {output} 2>&1 | tee {log}"
