# The jobs of this folder read this file: once in the job's script, and once on each node. Set up
# here what your site needs. Every line is an example: uncomment and change those that you need.

# Modules and a virtual environment:
# module load python/3.11 cuda
# source "$HOME/gantrain/.venv/bin/activate"

# Or a container, in which everything then runs:
# container=(apptainer exec --nv --bind "$PWD" "$HOME/gantrain.sif")

# The network between the nodes, where NCCL or gloo chooses a wrong one:
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0

# The node's own disk, which keeps shards from servers:
# export GANTRAIN_CACHE=/local/$USER/gantrain
