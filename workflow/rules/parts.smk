# The list of all parts of an artifact: what a node is given that reads all of them.


rule parts:
    input:
        lambda w: plan.parts_in(f"results/{w.folder}"),
    output:
        "results/{folder}/parts.arrow",
    log:
        "logs/parts/{folder}.log",
    wildcard_constraints:
        folder="(questions|rollouts|sentences|grades|logprobs|provenance|truth|separation)/.+",
    localrule: True
    conda:
        "../../envs/distrace.yaml"
    params:
        parts=lambda w, input: len(input),
        version=source_digest("nodes.parts"),
    shell:
        "python -m distrace.nodes.parts --folder results/{wildcards.folder} --count {params.parts} --out {output} "
        "2>&1 | tee {log}"
