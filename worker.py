"""The worker: workflows, sending and planning in separate processes."""
