// SPDX-License-Identifier: Apache-2.0
/*
 * peer_faiss.cc - exact neighbours by FAISS: a flat index, its three block sizes tuned for this machine and batch first.
 */
#include <faiss/IndexFlat.h>
#include <faiss/utils/distances.h>
#include <omp.h>
#include <chrono>
#include <vector>
#include "peers.h"

namespace {

struct tuning {
	int threshold, queries, rows;
};

/* From which batch on products go through BLAS (0: always; beyond any: never), and its blocks. */
const tuning tunings[] = { { 1 << 20, 4096, 1024 }, { 0, 4096, 1024 }, { 0, 4096, 4096 },
	{ 0, 64, 1024 }, { 0, 256, 512 }, { 0, 16, 4096 }, { 0, 64, 4096 } };

struct knn {
	faiss::IndexFlatL2 index;
	const float *queries;
	size_t n, k;
	std::vector<float> distance;
	std::vector<faiss::Index::idx_t> label;
	tuning best;

	knn(size_t width) : index((faiss::Index::idx_t)width)
	{
	}
};

void use(const tuning &how)
{
	faiss::distance_compute_blas_threshold = how.threshold;
	faiss::distance_compute_blas_query_bs = how.queries;
	faiss::distance_compute_blas_database_bs = how.rows;
}

void search(knn *all)
{
	all->index.search((faiss::Index::idx_t)all->n, all->queries, (faiss::Index::idx_t)all->k,
		all->distance.data(), all->label.data());
}

void *knn_make(const float *rows, size_t n_rows, size_t width, const float *queries, size_t n,
	size_t k)
{
	knn *all = new knn(width);
	double fastest = 1e300;

	omp_set_num_threads(1);
	all->index.add((faiss::Index::idx_t)n_rows, rows);
	all->queries = queries;
	all->n = n;
	all->k = k;
	all->distance.resize(n * k);
	all->label.resize(n * k);
	for (const tuning &how : tunings)
		for (int i = 0; i < 5; i++) {
			auto start = std::chrono::steady_clock::now();
			double took;

			use(how);
			search(all);
			took = std::chrono::duration<double>(
				std::chrono::steady_clock::now() - start)
				       .count();
			if (took < fastest) {
				fastest = took;
				all->best = how;
			}
		}
	return all;
}

void knn_run(void *of, uint32_t *index)
{
	knn *all = static_cast<knn *>(of);

	use(all->best);
	search(all);
	for (size_t i = 0; i < all->n * all->k; i++)
		index[i] = (uint32_t)all->label[i];
}

void knn_free(void *of)
{
	delete static_cast<knn *>(of);
}

} // namespace

extern "C" const struct peer peer_faiss = { "FAISS", nullptr, nullptr, nullptr, nullptr, nullptr,
	nullptr, knn_make, knn_run, knn_free };
