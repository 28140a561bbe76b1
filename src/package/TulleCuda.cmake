# SPDX-License-Identifier: Apache-2.0
# CUDA: the compiler for src/device/pack.cu and the runtime library. Sets TULLE_WITH_CUDA,
# and tulle_static_cuda when programs that use an installed Tulle must link the runtime themselves.
set(TULLE_WITH_CUDA FALSE)
set(tulle_static_cuda FALSE)
set(tulle_cuda_missing "")
if(TULLE_ENABLE_CUDA STREQUAL "OFF")
  tulle_report(CUDA "off (TULLE_ENABLE_CUDA=OFF)")
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  find_package(CUDAToolkit 11.4 QUIET)
  if(NOT TARGET CUDA::cudart_static)
    set(tulle_cuda_missing "no libcudart_static of CUDA 11.4 or newer beside ${CMAKE_CUDA_COMPILER}")
  endif()
else()
  set(tulle_cuda_missing "no working CUDA compiler (nvcc)")
endif()
if(tulle_cuda_missing)
  if(TULLE_ENABLE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "TULLE_ENABLE_CUDA=ON, but there is ${tulle_cuda_missing}. Install the CUDA toolkit, and name "
                        "its compiler if it is not in the PATH: -DCMAKE_CUDA_COMPILER=/path/to/nvcc")
  endif()
  tulle_report(CUDA "not found: ${tulle_cuda_missing}")
  return()
endif()

# Machine code for the GPUs of data centres that this compiler knows, and PTX of the newest for those to come.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE tulle_known)
  foreach(architecture IN ITEMS 80 90 100)
    if(tulle_known MATCHES "compute_${architecture}\n")
      list(APPEND tulle_architectures ${architecture})
    endif()
  endforeach()
  list(POP_BACK tulle_architectures tulle_newest)
  list(TRANSFORM tulle_architectures APPEND -real)
  set(CMAKE_CUDA_ARCHITECTURES ${tulle_architectures} ${tulle_newest} CACHE STRING "GPUs to compile for")
endif()
enable_language(CUDA)
set(TULLE_WITH_CUDA TRUE)
if(NOT BUILD_SHARED_LIBS)
  set(tulle_static_cuda TRUE)
endif()
list(JOIN CMAKE_CUDA_ARCHITECTURES " " tulle_architectures)
tulle_report(CUDA "${CMAKE_CUDA_COMPILER_VERSION} (${CMAKE_CUDA_COMPILER}), for sm ${tulle_architectures}")

# tulle_cuda_object(name file): compile a .cu file; ${name}_object names the object file, to be a source of C targets.
# Were the .cu file a source of theirs, CUDA would be the language in which CMake links them and everything that uses
# them: without CMAKE_C_FLAGS, and not at all without nvcc on the machine of who uses an installed static library.
function(tulle_cuda_object name file)
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${file})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_compile_features(${name} PRIVATE cuda_std_17)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CUDA_VISIBILITY_PRESET hidden)
  # Sums and products are rounded each, as on the host. Nothing needs the C++ runtime, which is not linked.
  target_compile_options(${name} PRIVATE --fmad=false
    -Xcompiler=-fno-exceptions,-fno-threadsafe-statics,-Wall,-Wextra,-Wshadow
    -Xcompiler=-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
  add_custom_command(OUTPUT ${object} DEPENDS ${name} $<TARGET_OBJECTS:${name}> VERBATIM
    COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_OBJECTS:${name}> ${object})
  set(${name}_object ${object} PARENT_SCOPE)
endfunction()

# tulle_cuda_source(name file): add a .cu file to the libraries.
function(tulle_cuda_source name file)
  tulle_cuda_object(${name} ${file})
  add_custom_target(${name}_built DEPENDS ${${name}_object})
  foreach(library IN ITEMS tulle tulle_testing)
    target_sources(${library} PRIVATE ${${name}_object})
    add_dependencies(${library} ${name}_built)
  endforeach()
endfunction()
