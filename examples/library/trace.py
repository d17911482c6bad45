# %% [markdown]
# A trace and a ranking in a notebook, without Snakemake: the numbers are those of the workflow.
#
# Run the workflow first (`snakemake --cores all`), then this in the project's folder, whole or cell by cell
# (`# %%` are the cells of Jupyter and editors): `python examples/library/trace.py`.

# %%
import distrace

RUN, TEACHER, STUDENT, DISTILLED = "main", "teacher", "student", "main.teacher.teacher_count.0"


def model(name):
    return distrace.model(f"results/models/{name}/model.json", format="plain")


# %% The answers of the distilled model to the test questions, with its own tokens.
answers = distrace.read_responses(f"results/rollouts/{DISTILLED}/test/answer/0.arrow", "results/questions/test/0.arrow")
print(answers.select("rollout_id", "question", "text").head(3))

# %% Their log-probs under three models, and the label of each sentence.
by_teacher, by_student = (distrace.score(model(name), answers) for name in (TEACHER, STUDENT))
by_distilled = distrace.score(model(DISTILLED), answers, own=True)
labelled = distrace.label(answers, by_teacher, by_student, by_distilled, alpha=0.05, beta=0.1)
print(labelled["label"].value_counts(sort=True))

# %% In colour, in a notebook; here with letters.
print(repr(distrace.show(labelled))[:500])

# %% Candidates of the teacher, ranked.
candidates = distrace.read_responses(
    f"results/rollouts/{TEACHER}/train/explore/0.arrow", "results/questions/train/0.arrow"
)
scored = [distrace.score(model(TEACHER), candidates, own=True), distrace.score(model(STUDENT), candidates)]
ranking = distrace.rank(candidates, *scored, scores=["teacher_count", "grape"])
print(ranking.sort("teacher_count", descending=True).head(3))

# %% The same from the run itself.
print(distrace.read(f"results/provenance/{RUN}/{TEACHER}/{DISTILLED}/test/answer/parts.arrow").head(3))
