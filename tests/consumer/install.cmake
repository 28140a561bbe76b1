# SPDX-License-Identifier: Apache-2.0
# Install the build tree BUILD into PREFIX, which holds nothing else afterwards.
file(REMOVE_RECURSE ${PREFIX})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${PREFIX} --config "${CONFIG}"
                COMMAND_ERROR_IS_FATAL ANY)
