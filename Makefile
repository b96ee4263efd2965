# Two commands: `make repro` runs the factory, `make test` checks it. Both set the environment up when it is not.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
# takes a killed run's own values out of params.yaml, while what was there before is still known
OWN := test ! -e .ckpt/params.before || python -m pipelines.support.run_values
.PHONY: help setup preset repro accept test bench gpu ui stop serve deploy worker docs release clean

help:    ## list these commands
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' Makefile | expand -t 10

setup:   ## make .venv with what repro needs, once; make setup EXTRAS="ui serve cluster diffusion dev" adds what is named
	@sh scripts/setup.sh $(EXTRAS)

preset: setup  ## write a preset's values into params.yaml: make preset NAME=laptop, NAME="paper direct_x4"; none lists them
	@$(if $(NAME),$(OWN))
	@python -m pipelines.support.preset $(NAME)

repro: setup  ## run every stage that is out of date, then show the figures
	@sh scripts/room.sh 2
	@python -m pipelines.support.reproduce
	@srfoundry register --new || true
	@python -m pipelines.support.report

accept: setup  ## take changed comments and docstrings into dvc.lock without a run; anything else is refused by name
	@python -m pipelines.support.accept

test:    ## formatting, lint, layers, types, tests
	@sh scripts/setup.sh ui serve cluster diffusion dev
	@ruff format --check -q . && ruff check -q .
	@said=$$(lint-imports --no-cache 2>&1) || { echo "$$said"; exit 1; }
	@basedpyright --level error && OMP_NUM_THREADS=1 pytest -n 2 --dist worksteal

docs:    ## check the documents' words and figures, build the site into site/, strictly
	@sh scripts/setup.sh docs
	@python -m scripts.docs

release: ## tag a version, write wheel, bill of materials and notes into dist/: make release VERSION=0.2.0; DRY=1 changes nothing
	@sh scripts/setup.sh dev
	@python -m scripts.release $(VERSION) $(if $(DRY),--dry-run)

bench:   ## run every benchmark but those that take long (drc, msgc, blind, diffusion, firsthour, deploy, photographs, scale, gpu); tables, and benchmarks/results/NAME.json
	@sh scripts/setup.sh dev
	@for file in $(filter-out benchmarks/drc.py benchmarks/blind.py benchmarks/diffusion.py benchmarks/msgc.py benchmarks/firsthour.py benchmarks/deploy.py benchmarks/photographs.py benchmarks/scale.py benchmarks/gpu.py,$(wildcard benchmarks/[a-z]*.py)); do python -m benchmarks.$$(basename $$file .py) || exit 1; done

gpu:     ## run every path once on a GPU, in under 25 minutes; benchmarks/results/gpu.json and gpu.md say what failed and why
	@sh scripts/setup.sh serve diffusion
	@python -m benchmarks.gpu

ui:      ## start or reuse the Prefect and MLflow user interfaces
	@sh scripts/setup.sh ui
	@python -m pipelines.support.server ui
	@python -m pipelines.support.sender

stop:    ## end them
	@python -m pipelines.support.server stop

serve: setup  ## offer the whole pipeline to the Prefect UI; make serve CRON="0 3 * * *" runs it every night
	@python -m pipelines.support.factory serve $(if $(CRON),--cron "$(CRON)")

deploy: setup  ## make a Prefect server ready: pool, deployments of prefect.yaml, who is notified (docs/cluster.md)
	@python -m pipelines.support.deploying $(if $(RUNS),--runs $(RUNS))

worker: setup  ## take runs from the server's pool, here; make worker FOLLOW=1 gets the branch's newest commit before each
	@SRFOUNDRY_PROJECT="$(CURDIR)" SRFOUNDRY_FOLLOW="$(FOLLOW)" PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 prefect worker start --pool srfoundry --type process --limit 1

clean:   ## remove checkpoints and servers' files; data, models and results stay, and runs and registered models unless REGISTRY=1
	@$(OWN)
	@-test ! -d .ckpt/telemetry || timeout 60 python -m pipelines.support.sender
	@-python -m pipelines.support.server stop
	@find .ckpt -mindepth 1 -maxdepth 1 ! -name telemetry -exec rm -rf {} + 2>/dev/null; \
	find .ckpt/telemetry -mindepth 1 -type d 2>/dev/null | grep -q . && echo "what waits for a server stays in .ckpt/telemetry" || rm -rf .ckpt
	@rm -rf .prefect .pytest_cache .ruff_cache .hypothesis $(if $(REGISTRY),mlflow.db mlflow.db-* mlartifacts)
