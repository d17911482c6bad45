# The workflow lives in workflow/; `include` restores the default target, so it is named again here.
include: "workflow/Snakefile"


rule everything:
    default_target: True
    input:
        rules.all.input,
    localrule: True
