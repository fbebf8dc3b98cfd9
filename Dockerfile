FROM python:3.11.15-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

# A fresh volume takes over the owner of the folder that it covers, so the store's folder must be there, and not root's.
RUN useradd --uid 1000 --create-home headgate \
 && install -d -o headgate -g headgate /var/lib/headgate/store \
 && install -d /etc/headgate

# The emulator lets anybody in and counts by token: one user to begin with.
RUN printf '[users.demo]\ntype = "static_token"\ntoken = "demo"\n' > /etc/headgate/emulator.toml

WORKDIR /app

# By itself, so that a change of the code does not install the dependencies anew.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md worker.py ./
COPY headgate headgate
COPY activities activities
COPY workflows workflows
COPY starter starter
COPY emulator emulator
RUN pip install --no-build-isolation --no-deps .

# Away from the sources: what runs is what was installed.
WORKDIR /home/headgate
USER headgate

CMD ["headgate", "worker"]
