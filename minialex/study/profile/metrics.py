"""How NVIDIA's Nsight Compute calls what a profile counts, so that both can be compared."""

from __future__ import annotations

METRICS = {
    "requests of global memory": "l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum (op_st, op_atom)",
    "sectors": "memory_l2_theoretical_sectors_global",
    "least_sectors": "memory_l2_theoretical_sectors_global_ideal",
    "lines": "memory_l1_tag_requests_global",
    "l1_hits": "l1tex__t_sectors_pipe_lsu_mem_global_op_ld_lookup_hit.sum",
    "wavefronts of shared memory": "memory_l1_wavefronts_shared",
    "least_wavefronts of shared memory": "memory_l1_wavefronts_shared_ideal",
    "wavefronts of global memory": "l1tex__data_pipe_lsu_wavefronts.sum, its part of global memory",
    "lanes / requests": "smsp__thread_inst_executed_per_inst_executed.ratio",
    "divergent": "smsp__sass_branch_targets_threads_divergent.sum",
    "registers": "launch__registers_per_thread",
    "static_shared_bytes": "launch__shared_mem_per_block_static",
    "dynamic_shared_bytes": "launch__shared_mem_per_block_dynamic",
    "occupancy": "sm__maximum_warps_per_active_cycle_pct",
    "predicted_seconds": "gpu__time_duration.sum",
}
"""By the name that it has in a profile. Those of source lines stand in Nsight's source view."""
