"""What is computed: tasks, the float GRU, the genome and the integer scheme."""
