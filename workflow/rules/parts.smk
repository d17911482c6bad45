# The list of all parts of an artifact that has a job for each part: what a node is given that reads all of them. A part's
# rejects carry its fingerprint, and are small: Snakemake looks into them for a change, and not into the part.


rule parts:
    input:
        lambda w: (
            plan.listed_in_block(f"results/{w.folder}", int(w.block[1:]))
            if w.block
            else plan.listed_in(f"results/{w.folder}")
        ),
    output:
        "results/{folder}/parts{block}.arrow",
    log:
        "logs/parts/{folder}{block}.log",
    wildcard_constraints:
        folder="(rollouts|logprobs)/.+",
        block="(-[0-9]+)?",
    localrule: True
    conda:
        "../../envs/distrace.yaml"
    params:
        version=source_digest("nodes.parts"),
    shell:
        "python -m distrace.nodes.parts --parts {input} --out {output} 2>&1 | tee {log}"
