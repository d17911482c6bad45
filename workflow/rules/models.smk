# Models: found on the hub or in a folder, made fresh, or fine-tuned. Each ends in a card, results/models/NAME/model.json.


rule model:
    input:
        model_files,
    output:
        "results/models/{model}/model.json",
    log:
        "logs/models/{model}.log",
    wildcard_constraints:
        model=names(plan.models_from("hub", "folder")),
    # Before any model runs: here it shows whether the files are whole, and whether a prompt can be written.
    priority: 100
    conda:
        "../../envs/distrace.yaml"
    resources:
        runtime=240,
    params:
        source=lambda w: as_json(plan.model_source(w.model)),
        # Not recorded, since the function takes the input: another prompt is no other model.
        settings=lambda w, input: settings_of(w.model),
        version=NODE_VERSIONS["model"],
    shell:
        "python -m distrace.nodes.model --name {wildcards.model} --source {params.source:q} "
        "--settings {params.settings:q} --out {output} 2>&1 | tee {log}"


rule fresh:
    input:
        questions=lambda w: plan.questions_parts(plan.config["models"][w.model]["source"]["fresh"]["questions"]),
    output:
        card="results/models/{model}/model.json",
        weights=directory("results/models/{model}/weights"),
    log:
        "logs/models/{model}.log",
    wildcard_constraints:
        model=names(plan.models_from("fresh")),
    conda:
        "../../envs/distrace.yaml"
    params:
        settings=lambda w: as_json(plan.fresh(w.model)),
        version=NODE_VERSIONS["fresh"],
    shell:
        "python -m distrace.nodes.fresh --name {wildcards.model} --settings {params.settings:q} "
        "--questions {input.questions} --out {output.card} 2>&1 | tee {log}"


# What trains or generates goes first: most of the rest waits for it, and fills the cores beside it.
rule finetune:
    input:
        unpack(finetune_data),
        base=lambda w: planning.model_path(plan.base_of(w.model)),
    output:
        card="results/models/{model}/model.json",
        weights=directory("results/models/{model}/weights"),
        readme="results/models/{model}/README.md",
        training="results/models/{model}/training.arrow",
        rejects="results/models/{model}/training.rejects.arrow",
        examples="results/models/{model}/examples.txt",
    log:
        "logs/models/{model}.log",
    wildcard_constraints:
        model=names([*plan.models_from("finetune"), *plan.distilled]),
    priority: 1
    conda:
        "../../envs/distrace.yaml"
    threads: of_model("model", "threads")
    resources:
        **training_resources("model"),
    params:
        settings=lambda w: settings_of(w.model),
        training=lambda w: as_json(as_identity(plan.training(w.model))),
        selected=lambda w, input: (
            f"--rollouts {input.rollouts} --selection {input.selection}" if "selection" in input.keys() else ""
        ),
        version=NODE_VERSIONS["finetune"],
    shell:
        "python -m distrace.nodes.finetune --name {wildcards.model} --base {input.base} --settings {params.settings:q} "
        "--training {params.training:q} --questions {input.questions} {params.selected} "
        "--execution {resources.execution:q} --threads {threads} --gpus {resources.gpu} --out {output.card} 2>&1 | tee {log}"
