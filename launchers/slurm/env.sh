# Sourced by train.sbatch, in the job's script and again on each node, where it sets up what your
# site needs. Every line is an example; uncomment and change yours.

# Modules and a virtual environment:
# module load python/3.11 cuda
# source "$HOME/gantrain/.venv/bin/activate"

# Or a container, which then runs everything:
# container=(apptainer exec --nv --bind "$PWD" "$HOME/gantrain.sif")

# The network between nodes, where NCCL or gloo chooses a wrong one:
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0

# Shards from servers are kept on the node's own disk:
# export GANTRAIN_CACHE=/local/$USER/gantrain
