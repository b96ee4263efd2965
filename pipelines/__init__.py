"""One file a stage: what DVC runs, Prefect watches and MLflow draws."""
