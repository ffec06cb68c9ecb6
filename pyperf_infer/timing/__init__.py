# SPDX-License-Identifier: Apache-2.0
"""What `pyperf_infer.timers` is made of. Its import must stay cheap: no dataclasses, no pathlib."""
