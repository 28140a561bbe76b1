# SPDX-License-Identifier: Apache-2.0
# The header of cuSPARSE, for a build with CUDA; the library is loaded when a program first needs it, so nothing is
# linked. Sets TULLE_WITH_CUSPARSE.
set(TULLE_WITH_CUSPARSE FALSE)
if(TULLE_ENABLE_CUSPARSE STREQUAL "OFF")
  tulle_report(cuSPARSE "off (TULLE_ENABLE_CUSPARSE=OFF)")
  return()
endif()
if(TULLE_WITH_CUDA)
  find_path(CUSPARSE_INCLUDE_DIR cusparse.h HINTS ${CUDAToolkit_INCLUDE_DIRS} DOC "Folder of cusparse.h")
  mark_as_advanced(CUSPARSE_INCLUDE_DIR)
endif()
if(TULLE_WITH_CUDA AND CUSPARSE_INCLUDE_DIR)
  set(TULLE_WITH_CUSPARSE TRUE)
  tulle_report(cuSPARSE "${CUSPARSE_INCLUDE_DIR}, loaded at run time")
elseif(TULLE_ENABLE_CUSPARSE STREQUAL "ON")
  message(FATAL_ERROR "TULLE_ENABLE_CUSPARSE=ON, but there is no cusparse.h, or no CUDA to use it with. Name its folder "
                      "if it is not found: -DCUSPARSE_INCLUDE_DIR=/path/to/folder")
elseif(TULLE_WITH_CUDA)
  tulle_report(cuSPARSE "not found (cusparse.h)")
else()
  tulle_report(cuSPARSE "not used without CUDA")
endif()
