# SPDX-License-Identifier: Apache-2.0
# The header of NCCL: NCCL_FOUND, NCCL_INCLUDE_DIR, NCCL_VERSION. The library is loaded when a program first needs it, so
# nothing is linked. -DNCCL_INCLUDE_DIR=/path or NCCL_ROOT name a place that is not searched.
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} DOC "Folder of nccl.h; only the header is used")
mark_as_advanced(NCCL_INCLUDE_DIR)
if(NCCL_INCLUDE_DIR)
  file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h nccl_lines REGEX "^#define NCCL_(MAJOR|MINOR|PATCH) ")
  string(REGEX MATCHALL "[0-9]+" nccl_parts "${nccl_lines}")
  list(JOIN nccl_parts "." NCCL_VERSION)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_INCLUDE_DIR VERSION_VAR NCCL_VERSION)
