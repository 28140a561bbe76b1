# SPDX-License-Identifier: Apache-2.0
# tulle_perf_input: the matrices that drive an exchange, read from files or made. Included by perf/CMakeLists.txt. Needs
# CHOLMOD (no pkg-config file in Debian 12), libarchive and zlib; a missing one stops the configuration only when
# TULLE_BUILD_PERF is ON, otherwise there is no target.
find_path(CHOLMOD_INCLUDE_DIR cholmod.h PATH_SUFFIXES suitesparse DOC "Folder of cholmod.h")
find_library(CHOLMOD_LIBRARY cholmod DOC "CHOLMOD of SuiteSparse")
mark_as_advanced(CHOLMOD_INCLUDE_DIR CHOLMOD_LIBRARY)
find_package(LibArchive QUIET GLOBAL) # global: the tests link these too
find_package(ZLIB QUIET GLOBAL)

# Optional, for --partition metis; no pkg-config file.
tulle_switch(TULLE_ENABLE_METIS "Partitions of matrices, by METIS")
set(tulle_metis FALSE)
if(TULLE_ENABLE_METIS STREQUAL "OFF")
  tulle_report(METIS "off (TULLE_ENABLE_METIS=OFF)")
else()
  find_path(METIS_INCLUDE_DIR metis.h DOC "Folder of metis.h")
  find_library(METIS_LIBRARY metis DOC "METIS")
  mark_as_advanced(METIS_INCLUDE_DIR METIS_LIBRARY)
  if(METIS_INCLUDE_DIR AND METIS_LIBRARY)
    set(tulle_metis TRUE)
    tulle_report(METIS "${METIS_LIBRARY} (tulle_perf --partition metis)")
  elseif(TULLE_ENABLE_METIS STREQUAL "ON")
    message(FATAL_ERROR "TULLE_ENABLE_METIS=ON, but METIS was not found. On Debian and Ubuntu: "
                        "apt-get install libmetis-dev")
  else()
    tulle_report(METIS "not found (Debian package libmetis-dev)")
  endif()
endif()

set(tulle_perf_input_missing "")
if(NOT CHOLMOD_INCLUDE_DIR OR NOT CHOLMOD_LIBRARY)
  list(APPEND tulle_perf_input_missing libsuitesparse-dev)
endif()
if(NOT LibArchive_FOUND)
  list(APPEND tulle_perf_input_missing libarchive-dev)
endif()
if(NOT ZLIB_FOUND)
  list(APPEND tulle_perf_input_missing zlib1g-dev)
endif()

if(NOT tulle_perf_input_missing)
  tulle_report(CHOLMOD "${CHOLMOD_LIBRARY}")
  tulle_report(libarchive "${LibArchive_VERSION}")
  set(tulle_perf_input_sources
    ${CMAKE_CURRENT_LIST_DIR}/curve.c ${CMAKE_CURRENT_LIST_DIR}/input.c ${CMAKE_CURRENT_LIST_DIR}/input_make.c
    ${CMAKE_CURRENT_LIST_DIR}/input_stream.c ${CMAKE_CURRENT_LIST_DIR}/input_whole.c ${CMAKE_CURRENT_LIST_DIR}/matrix_file.c
    ${CMAKE_CURRENT_LIST_DIR}/network.c ${CMAKE_CURRENT_LIST_DIR}/network_read.c
    ${CMAKE_CURRENT_LIST_DIR}/partition.c ${CMAKE_CURRENT_LIST_DIR}/partition_graph.c
    ${CMAKE_CURRENT_LIST_DIR}/partition_metis.c
    ${CMAKE_CURRENT_LIST_DIR}/tomography.c)
  # What a target needs that has these sources.
  function(tulle_link_perf_input target)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE) # fopencookie
    target_include_directories(${target} SYSTEM PRIVATE ${CHOLMOD_INCLUDE_DIR})
    target_link_libraries(${target} PRIVATE ${CHOLMOD_LIBRARY} LibArchive::LibArchive ZLIB::ZLIB m)
    if(tulle_metis)
      target_compile_definitions(${target} PRIVATE TULLE_HAVE_METIS)
      target_include_directories(${target} SYSTEM PRIVATE ${METIS_INCLUDE_DIR})
      target_link_libraries(${target} PRIVATE ${METIS_LIBRARY})
    endif()
  endfunction()
  add_library(tulle_perf_input STATIC ${tulle_perf_input_sources})
  tulle_target_setup(tulle_perf_input)
  tulle_link_perf_input(tulle_perf_input)
  target_link_libraries(tulle_perf_input PUBLIC tulle_testing)
else()
  list(JOIN tulle_perf_input_missing " " tulle_perf_input_packages)
  if(TULLE_BUILD_PERF STREQUAL "ON")
    message(FATAL_ERROR "TULLE_BUILD_PERF=ON, but libraries that read matrices are missing. On Debian and Ubuntu: "
                        "apt-get install ${tulle_perf_input_packages}")
  endif()
  tulle_report(tulle_perf "off: apt-get install ${tulle_perf_input_packages}")
endif()
