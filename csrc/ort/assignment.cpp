// SPDX-License-Identifier: Apache-2.0
#include "ort/assignment.hpp"

#include "core/error.hpp"

namespace pyperf::ort {
namespace {

template <class Of>
std::string text(const Api& api, Slot slot, const Of* of) {
  const char* value = nullptr;
  api.call<const Of*, const char**>(Doing::kLoading, slot, of, &value);
  return value == nullptr ? "" : value;
}

}  // namespace

std::vector<AssignedNode> assigned_nodes(const Session& session) {
  const Api& api = session.api();
  if (api.version() < kAssignmentApi) {
    throw BackendError("ONNX Runtime " + session.environment().version() +
                       " cannot tell which provider runs which node; 1.24 and later can");
  }
  const OrtEpAssignedSubgraph* const* subgraphs = nullptr;
  std::size_t subgraph_count = 0;
  api.call<const OrtSession*, const OrtEpAssignedSubgraph* const**, std::size_t*>(
      Doing::kLoading, Slot::kSessionGetEpGraphAssignmentInfo, session.handle(), &subgraphs, &subgraph_count);
  std::vector<AssignedNode> assigned;
  for (std::size_t s = 0; s < subgraph_count; ++s) {
    const auto provider = text(api, Slot::kEpAssignedSubgraphGetEpName, subgraphs[s]);
    const OrtEpAssignedNode* const* nodes = nullptr;
    std::size_t node_count = 0;
    api.call<const OrtEpAssignedSubgraph*, const OrtEpAssignedNode* const**, std::size_t*>(
        Doing::kLoading, Slot::kEpAssignedSubgraphGetNodes, subgraphs[s], &nodes, &node_count);
    for (std::size_t n = 0; n < node_count; ++n) {
      assigned.push_back({provider, text(api, Slot::kEpAssignedNodeGetOperatorType, nodes[n]),
                          text(api, Slot::kEpAssignedNodeGetName, nodes[n])});
    }
  }
  return assigned;
}

}  // namespace pyperf::ort
