# SPDX-License-Identifier: Apache-2.0
# What Tulle is built from: asked for by TULLE_ENABLE_* and TULLE_BUILD_*, found once, here, and reported at the end of
# the configuration. AUTO takes what is there; ON stops when it is missing; OFF does not look.

function(tulle_switch name doc)
  set(${name} AUTO CACHE STRING "${doc}: AUTO, ON or OFF")
  set_property(CACHE ${name} PROPERTY STRINGS AUTO ON OFF)
  if(NOT "${${name}}" MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "${name} is \"${${name}}\"; it must be AUTO, ON or OFF.")
  endif()
endfunction()

function(tulle_report name text)
  set_property(GLOBAL APPEND PROPERTY TULLE_SUMMARY "${name}|${text}")
endfunction()

# A library with a pkg-config file. Sets <variable> to the imported target, or to nothing.
function(tulle_find_module variable switch module package)
  set(${variable} "" PARENT_SCOPE)
  string(REGEX REPLACE ">=.*" "" name ${module})
  string(TOUPPER ${name} prefix)
  if("${${switch}}" STREQUAL "OFF")
    tulle_report(${name} "off (${switch}=OFF)")
    return()
  endif()
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(${prefix} QUIET IMPORTED_TARGET GLOBAL ${module})
  endif()
  if(${prefix}_FOUND)
    set(${variable} PkgConfig::${prefix} PARENT_SCOPE)
    tulle_report(${name} "${${prefix}_VERSION}")
  elseif("${${switch}}" STREQUAL "ON")
    message(FATAL_ERROR "${switch}=ON, but pkg-config does not find ${module}. On Debian and Ubuntu: "
                        "apt-get install pkg-config ${package}")
  else()
    tulle_report(${name} "not found (Debian package ${package})")
  endif()
endfunction()

# Needed always.
find_package(MPI COMPONENTS C)
if(NOT MPI_C_FOUND)
  message(FATAL_ERROR "MPI for C was not found. On Debian and Ubuntu: apt-get install libopenmpi-dev openmpi-bin "
                      "(or libmpich-dev mpich). Elsewhere name its wrapper: -DMPI_C_COMPILER=/path/to/mpicc")
endif()
find_program(tulle_mpi_compiler NAMES ${MPI_C_COMPILER} NO_CACHE) # with its path: it may be given as a name
tulle_report(MPI "${MPI_C_VERSION} (${tulle_mpi_compiler})")

find_path(XXHASH_INCLUDE_DIR xxhash.h DOC "Folder of xxhash.h; only the header is used")
mark_as_advanced(XXHASH_INCLUDE_DIR)
if(NOT XXHASH_INCLUDE_DIR)
  message(FATAL_ERROR "xxhash.h was not found. On Debian and Ubuntu: apt-get install libxxhash-dev. "
                      "Elsewhere: -DXXHASH_INCLUDE_DIR=/path/to/folder")
endif()
tulle_report(xxHash "${XXHASH_INCLUDE_DIR} (header only)")

# Optional.
tulle_switch(TULLE_ENABLE_HWLOC "NUMA domains inside a node, through hwloc")
tulle_switch(TULLE_ENABLE_JANSSON "JSON output, through Jansson")
tulle_find_module(tulle_hwloc TULLE_ENABLE_HWLOC hwloc>=2.1 libhwloc-dev)
tulle_find_module(tulle_jansson TULLE_ENABLE_JANSSON jansson>=2.7 libjansson-dev)

# What a program must link besides, when the library is static.
set(tulle_static_modules "")
if(NOT BUILD_SHARED_LIBS)
  foreach(name IN ITEMS hwloc jansson)
    if(tulle_${name})
      list(APPEND tulle_static_modules ${name})
    endif()
  endforeach()
endif()

foreach(name IN ITEMS UCX)
  tulle_switch(TULLE_ENABLE_${name} "${name}; not in this release")
  if(TULLE_ENABLE_${name} STREQUAL "ON")
    message(FATAL_ERROR "TULLE_ENABLE_${name}=ON: ${name} is not in this release. Leave it AUTO or OFF.")
  endif()
  tulle_report(${name} "not used yet")
endforeach()

tulle_switch(TULLE_ENABLE_CUDA "Memory and kernels on NVIDIA GPUs")
include(TulleCuda) # sets TULLE_WITH_CUDA
tulle_switch(TULLE_ENABLE_NCCL "Messages of NCCL between GPUs of several nodes")
include(TulleNccl) # sets TULLE_WITH_NCCL

# Give a target everything it is compiled and linked with. visibility is that of the private parts.
function(tulle_link_dependencies target visibility)
  target_link_libraries(${target} PUBLIC MPI::MPI_C ${visibility} m ${CMAKE_DL_LIBS})
  target_include_directories(${target} SYSTEM PRIVATE ${XXHASH_INCLUDE_DIR})
  foreach(name IN ITEMS hwloc jansson)
    if(tulle_${name})
      string(TOUPPER ${name} upper)
      target_link_libraries(${target} ${visibility} ${tulle_${name}})
      target_compile_definitions(${target} ${visibility} TULLE_HAVE_${upper})
    endif()
  endforeach()
  if(TULLE_WITH_CUDA AND NOT target STREQUAL tulle_emulated)
    target_link_libraries(${target} ${visibility} CUDA::cudart_static)
    target_link_options(${target} PRIVATE LINKER:--exclude-libs,libcudart_static.a) # none of its names is ours
  endif()
  if(TULLE_WITH_NCCL AND NOT target STREQUAL tulle_emulated)
    target_include_directories(${target} SYSTEM PRIVATE ${NCCL_INCLUDE_DIR})
  endif()
endfunction()

# Tests and benchmarks: built by default when Tulle is the project, not when it is a part of another one.
tulle_switch(TULLE_BUILD_TESTS "Build the tests")
tulle_switch(TULLE_BUILD_PERF "Build the benchmark tulle_perf")
set(TULLE_WITH_TESTS FALSE)
set(TULLE_WITH_PERF FALSE)
if(TULLE_BUILD_TESTS STREQUAL "ON" OR (TULLE_BUILD_TESTS STREQUAL "AUTO" AND PROJECT_IS_TOP_LEVEL))
  tulle_find_module(tulle_cmocka TULLE_BUILD_TESTS cmocka libcmocka-dev)
  if(tulle_cmocka)
    set(TULLE_WITH_TESTS TRUE)
  endif()
endif()
if(TULLE_BUILD_PERF STREQUAL "ON" OR (TULLE_BUILD_PERF STREQUAL "AUTO" AND PROJECT_IS_TOP_LEVEL))
  set(TULLE_WITH_PERF TRUE)
endif()
# The reference manual: cmake --build build --target docs
find_program(TULLE_DOXYGEN doxygen DOC "Doxygen, for the target docs")
mark_as_advanced(TULLE_DOXYGEN)
function(tulle_add_docs)
  if(TULLE_DOXYGEN AND PROJECT_IS_TOP_LEVEL)
    configure_file(${PROJECT_SOURCE_DIR}/src/package/Doxyfile.in ${PROJECT_BINARY_DIR}/Doxyfile @ONLY)
    add_custom_target(docs COMMAND ${TULLE_DOXYGEN} ${PROJECT_BINARY_DIR}/Doxyfile VERBATIM
                      COMMENT "Reference manual: ${PROJECT_BINARY_DIR}/docs/html/index.html")
  endif()
endfunction()

# tulle.pc: an installed library belongs to the MPI that it was built with, so that one is named by its paths.
function(tulle_configure_pkg_config)
  set(tulle_pc_cflags "")
  foreach(directory IN LISTS MPI_C_INCLUDE_DIRS)
    string(APPEND tulle_pc_cflags " -I${directory}")
  endforeach()
  string(REPLACE ";" " " tulle_pc_libs "${MPI_C_LIBRARIES}")
  list(JOIN tulle_static_modules ", " tulle_pc_requires)
  set(tulle_pc_libs_private "-lm -ldl")
  if(tulle_static_cuda)
    get_target_property(runtime CUDA::cudart_static IMPORTED_LOCATION)
    string(APPEND tulle_pc_libs_private " ${runtime} -lrt -lpthread")
  endif()
  file(RELATIVE_PATH tulle_pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  configure_file(${PROJECT_SOURCE_DIR}/src/package/tulle.pc.in ${PROJECT_BINARY_DIR}/tulle.pc @ONLY)
endfunction()

function(tulle_print_summary)
  get_property(lines GLOBAL PROPERTY TULLE_SUMMARY)
  message(STATUS "Tulle ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}:")
  foreach(line IN LISTS lines)
    string(REPLACE "|" ";" parts "${line}")
    list(GET parts 0 name)
    list(GET parts 1 text)
    string(LENGTH "${name}" length)
    math(EXPR missing "12 - ${length}")
    string(REPEAT " " ${missing} space)
    message(STATUS "  ${name}${space}${text}")
  endforeach()
endfunction()
